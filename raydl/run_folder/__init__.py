"""What a run leaves in its folder, and what is made of that.

record      a row for each round, and the summary
patience    when a run has not become better for long enough
checkpoint  all that a run goes on from, as safetensors
resumption  run.yaml: written, read back, and compared with a resumed run's spec
sample      what a run's model was trained on, as run.yaml says it
model       load: the model of a run
start       the run that another one's parameters are taken from
results     what came of runs, for people
prediction  predict: what a run's model says of samples
"""
