"""Where questions are asked: sweeps, and the studies that draw a table or a plot.

sweep     runs over a search space, under Ray Tune
registry  the studies by name, for ``python -m tuning list`` and ``python -m tuning run STUDY``
"""
