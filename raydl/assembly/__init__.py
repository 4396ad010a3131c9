"""From a run's spec to the values that it is made of, with every check that needs them.

assemble       data, partition, model and algorithm, put together
compatibility  whether model, algorithm and runtime fit each other
trial          training passes over two samples: what a model does, and whether it can be run
attributes     what modules keep besides parameters and buffers
"""
