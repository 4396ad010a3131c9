"""The values that an algorithm is made of: torch and the standard library only.

algorithm  Client, Algorithm, Plan, Work, Update: what an algorithm is and what it is asked for
tree       nested dictionaries of tensors: map, add, pack into one buffer and back
rng        seeds folded from (seed, round, client, purpose), never from the worker
grad       a model's loss and its gradient, eager or under vmap
reduce     how the clients' updates become one
compat     what torch and Python keep to themselves, and is used all the same
errors     the error that a user's mistake raises
"""
