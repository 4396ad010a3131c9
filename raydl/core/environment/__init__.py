"""What raydl finds where it runs.

compat  what torch and Python keep to themselves, and is used all the same
extras  packages that are there or not
lazy    names that a package imports when they are asked for
stages  who is told what a run is at
"""
