"""The Ray cluster that a run works on, and what passes through it.

cluster        connecting to one, or starting it; whether it has room
inventory      what a cluster says of itself
liveness       the death of Ray's own processes, noticed and told
worker_group   WorkerGroup: workers with numbers of their own, replaced when they die
task_pool      TaskPool: actors kept busy with the most urgent calls
transport      trees on the way between processes
problem_store  a problem in the object store: its samples once for all of a node
prometheus     a run's figures as metrics
spec           OnRay: what the specs have in common
"""
