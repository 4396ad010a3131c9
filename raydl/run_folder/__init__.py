"""What a run leaves in its folder, and what is made of that.

record      a row for each round, and the summary
wording     how its figures are written, and by which metric it is judged
outcome     what came of a run in a few lines
checkpoint  all that a run goes on from, as safetensors
resumption  run.yaml: written, read back, and compared with a resumed run's spec
model       load: the model of a run
"""
