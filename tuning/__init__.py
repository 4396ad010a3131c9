"""Where questions are asked: the studies that draw a table or a plot.

mnist     federated learning on MNIST: clients, client fraction, local epochs, skewed labels
cifar100  distributed learning on CIFAR-100: centralized, large batches, local steps
"""
