"""The algorithms, one paper a file.

fedsgd    FedSGD: one full-batch gradient step for each client and round, by gradients or weights
fedavg    FedAvg: local epochs or local steps of SGD, then the weighted mean
fedprox   FedProx: FedAvg with a proximal term that pulls clients back to where they began
fedasync  FedAsync: each client's parameters mixed into the server's as they arrive
dataparallel  DataParallel: processes that share every minibatch, by DDP; in one, centralized
localsgd  LocalSGD: workers that average after J local steps; post-local SGD, dynamic J
hierarchical  HierarchicalLocalSGD: groups of workers that average among themselves more often
slowmo    SlowMo: local SGD with a slow momentum over the averages
diloco    DiLoCo: many local steps of AdamW, and outer steps of Nesterov momentum
parameterserver  ParameterServer: workers push gradients, the server's optimizer steps; Downpour
easgd     EASGD: workers that keep their own parameters, tied to a center by a spring

Under those whose clients send how far they moved: ``movement``, the message. Under the local
methods: ``local``, what they have in common, and ``intervals``, the rules for J;
under DataParallel: ``hooks``, what is done to the gradients that its processes exchange.
"""

from raydl.algorithms.dataparallel import DataParallel
from raydl.algorithms.diloco import DiLoCo
from raydl.algorithms.easgd import EASGD
from raydl.algorithms.fedasync import FedAsync
from raydl.algorithms.fedavg import FedAvg
from raydl.algorithms.fedprox import FedProx
from raydl.algorithms.fedsgd import FedSGD
from raydl.algorithms.hierarchical import HierarchicalLocalSGD
from raydl.algorithms.localsgd import LocalSGD
from raydl.algorithms.parameterserver import ParameterServer
from raydl.algorithms.slowmo import SlowMo

__all__ = [
    "EASGD",
    "DataParallel",
    "DiLoCo",
    "FedAsync",
    "FedAvg",
    "FedProx",
    "FedSGD",
    "HierarchicalLocalSGD",
    "LocalSGD",
    "ParameterServer",
    "SlowMo",
]
