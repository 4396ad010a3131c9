"""Distributed learning on CIFAR-100: four studies of one network at equal numbers of samples.

centralized  one worker: rate and decay by validation, and the curves of the long run
large_batch  SGDM, AdamW, LARS and LAMB over the batch, at fixed and at scaled rates
local_steps  LocalSGD and SlowMo over the number of workers K and of local steps J
asynchronous  when a parameter server waits for its workers, also at equal seconds
"""
