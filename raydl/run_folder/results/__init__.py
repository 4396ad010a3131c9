"""What came of runs, for people.

wording     how figures are written, and by which metric a run is judged
outcome     what came of a run in a few lines
curves      how runs went, drawn
pictures    what is drawn into the run's folder
comparison  runs read from their folders, to be laid side by side
"""
