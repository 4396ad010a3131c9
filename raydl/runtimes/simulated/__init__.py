"""Workers under a virtual clock: ``--runtime simulated``.

spec           Simulated: as a user names it
cluster_model  the workers' consistency, speed, network and luck
compute_time   Lognormal, Exponential, Measured: how long local steps take
timeline       the clock that draws arrivals, event by event
"""
