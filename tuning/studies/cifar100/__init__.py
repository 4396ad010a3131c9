"""Distributed and federated learning on CIFAR-100: studies of one network.

centralized    one worker: rate and decay by validation, and the curves of the long run
large_batch    SGDM, AdamW, LARS and LAMB over the batch, at fixed and at scaled rates
local_steps    LocalSGD and SlowMo over the number of workers K and of local steps J
rates          how the best rate depends on K and J, by a sweep
two_level      what the server does with the workers' average
dynamic_steps  rules that decide the number of local steps as the training goes on
asynchronous   when a parameter server waits for its workers, also at equal seconds
fedavg         100 clients, iid
participation  100 clients, some of whom take part more often
heterogeneity  100 clients, each of whom has few of the classes
"""
