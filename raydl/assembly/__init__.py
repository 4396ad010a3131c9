"""From a run's spec to the values that it is made of, with every check that needs them.

assemble       data, partition, model and algorithm, put together
compatibility  whether model, algorithm and runtime fit each other
start          the parameters that a model begins with, and those that stay
trial          training passes over two samples: what a model does, and whether it can be run
decoding       samples decoded by Ray Data, to be prepared
attributes     what modules keep besides parameters and buffers
"""
