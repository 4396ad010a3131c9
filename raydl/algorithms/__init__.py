"""The algorithms, one paper a file.

federated    clients that come and go: FedSGD, FedAvg, FedProx, FedAsync
distributed  workers that stay: DataParallel, LocalSGD, SlowMo, DiLoCo, parameter servers, EASGD
movement     the message of those whose clients send how far they moved
"""

from raydl.algorithms.distributed.dataparallel import DataParallel
from raydl.algorithms.distributed.diloco import DiLoCo
from raydl.algorithms.distributed.easgd import EASGD
from raydl.algorithms.distributed.hierarchical import HierarchicalLocalSGD
from raydl.algorithms.distributed.localsgd import LocalSGD
from raydl.algorithms.distributed.parameterserver import ParameterServer
from raydl.algorithms.distributed.slowmo import SlowMo
from raydl.algorithms.federated.fedasync import FedAsync
from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.federated.fedprox import FedProx
from raydl.algorithms.federated.fedsgd import FedSGD
from raydl.algorithms.federated.scaffold import SCAFFOLD

__all__ = [
    "EASGD",
    "SCAFFOLD",
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
