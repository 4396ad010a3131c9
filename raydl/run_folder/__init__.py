"""What a run leaves in its folder, and what is made of that.

record      a row for each round, and the summary
wording     how its figures are written, and by which metric it is judged
outcome     what came of a run in a few lines
curves      how runs went, drawn
comparison  runs read from their folders, to be laid side by side
patience    when a run has not become better for long enough
checkpoint  all that a run goes on from, as safetensors
resumption  run.yaml: written, read back, and compared with a resumed run's spec
sample      what a run's model was trained on, as run.yaml says it
model       load: the model of a run
start       the run that another one's parameters are taken from
prediction  predict: what a run's model says of samples
"""
