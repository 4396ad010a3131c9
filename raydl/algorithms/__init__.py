"""The algorithms, one paper a file.

fedsgd  FedSGD: one full-batch gradient step for each client and round, by gradients or by weights
fedavg  FedAvg: local epochs or local steps of SGD, then the weighted mean
"""

from raydl.algorithms.fedavg import FedAvg
from raydl.algorithms.fedsgd import FedSGD

__all__ = ["FedAvg", "FedSGD"]
