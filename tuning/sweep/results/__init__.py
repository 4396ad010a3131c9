"""What comes of a sweep.

table      a row for each trial
agreement  whether the trials are judged by one metric
report     the best setting trained again and tested, and the files that say so
figures    what settings led to, drawn
"""
