"""Processes without a server: ``--runtime allreduce``.

spec         AllReduce: as a user names it
runtime      one process of the group
ddp          the gradient of a minibatch that they share
launch       the group, started under Ray Train
driver_link  what the group and the driver tell each other
"""
