"""The algorithms, one paper a file.

federated    clients that come and go: FedSGD, FedAvg, FedProx, FedNova, FedAsync; FedExP, FedAvgM,
             FedAdagrad, FedAdam, FedYogi; FedVARP, MIFA, FedFade, HorvitzThompson; SCAFFOLD,
             FedDyn, Mime, MimeLite, QFedAvg, AFL
distributed  workers that stay: DataParallel, LocalSGD, SlowMo, DiLoCo, StreamingDiLoCo, parameter
             servers, EASGD
movement     the message of those whose clients send how far they moved
"""

from raydl.algorithms.distributed.dataparallel import DataParallel
from raydl.algorithms.distributed.diloco import DiLoCo
from raydl.algorithms.distributed.easgd import EASGD
from raydl.algorithms.distributed.hierarchical import HierarchicalLocalSGD
from raydl.algorithms.distributed.localsgd import LocalSGD
from raydl.algorithms.distributed.parameterserver import ParameterServer
from raydl.algorithms.distributed.slowmo import SlowMo
from raydl.algorithms.distributed.streamingdiloco import StreamingDiLoCo
from raydl.algorithms.federated.afl import AFL
from raydl.algorithms.federated.fedasync import FedAsync
from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.federated.feddyn import FedDyn
from raydl.algorithms.federated.fedexp import FedExP
from raydl.algorithms.federated.fedfade import FedFade
from raydl.algorithms.federated.fednova import FedNova
from raydl.algorithms.federated.fedopt import FedAdagrad, FedAdam, FedAvgM, FedYogi
from raydl.algorithms.federated.fedprox import FedProx
from raydl.algorithms.federated.fedsgd import FedSGD
from raydl.algorithms.federated.fedvarp import FedVARP
from raydl.algorithms.federated.horvitzthompson import HorvitzThompson
from raydl.algorithms.federated.mifa import MIFA
from raydl.algorithms.federated.mime import Mime, MimeLite
from raydl.algorithms.federated.qfedavg import QFedAvg
from raydl.algorithms.federated.scaffold import SCAFFOLD

__all__ = [
    "AFL",
    "EASGD",
    "MIFA",
    "SCAFFOLD",
    "DataParallel",
    "DiLoCo",
    "FedAdagrad",
    "FedAdam",
    "FedAsync",
    "FedAvg",
    "FedAvgM",
    "FedDyn",
    "FedExP",
    "FedFade",
    "FedNova",
    "FedProx",
    "FedSGD",
    "FedVARP",
    "FedYogi",
    "HierarchicalLocalSGD",
    "HorvitzThompson",
    "LocalSGD",
    "Mime",
    "MimeLite",
    "ParameterServer",
    "QFedAvg",
    "SlowMo",
    "StreamingDiLoCo",
]
