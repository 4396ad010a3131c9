"""What a run leaves in its folder, and what is made of that.

record      a row for each round, TensorBoard's events, the summary
checkpoint  all that a run goes on from, as safetensors
resumption  run.yaml: written, read back, and compared with a resumed run's spec
model       load: the model of a run
"""
