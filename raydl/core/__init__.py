"""The values that an algorithm is made of: torch and the standard library only.

algorithm      Client, Algorithm, Plan, Work, Update: what an algorithm is and what it is asked for
task           the loss, and the metrics beside it
tree           nested dictionaries of tensors: map, add, pack into one buffer and back
rng            seeds folded from (seed, round, client, purpose), never from the worker
module         how a model meets trees of tensors
grad           a model's loss and its gradient, eager or under vmap
gradient_sync  what is done to gradients that processes exchange
reduce         how the clients' updates become one
spec           what the user's choices have in common
fields         what fields of a spec may be
errors         the error that a user's mistake raises
environment    torch's and Python's own, packages that may be missing, and who looks on
"""
