"""Where questions are asked: sweeps, and the studies that draw a table or a plot.

sweep     runs over a search space, under Ray Tune
mnist     federated learning on MNIST: clients, client fraction, local epochs, skewed labels
cifar100  distributed learning on CIFAR-100: centralized, large batches, local steps
"""
