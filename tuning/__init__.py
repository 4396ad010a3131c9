"""Where questions are asked: sweeps, and the studies that draw a table or a plot.

sweep    runs over a search space, under Ray Tune
studies  questions, the runs that answer them, and the tables and plots of the answer
output   how tables and plots are written
"""
