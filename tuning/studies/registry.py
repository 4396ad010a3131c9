"""The studies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tuning.studies.cifar100.asynchronous import asynchronous
from tuning.studies.cifar100.centralized import centralized
from tuning.studies.cifar100.dynamic_steps import dynamic_steps
from tuning.studies.cifar100.fedavg import fedavg
from tuning.studies.cifar100.heterogeneity import heterogeneity
from tuning.studies.cifar100.large_batch import large_batch
from tuning.studies.cifar100.local_steps import local_steps
from tuning.studies.cifar100.participation import participation
from tuning.studies.cifar100.rates import rates
from tuning.studies.cifar100.two_level import two_level
from tuning.studies.message_passing import message_passing
from tuning.studies.mnist import mnist
from tuning.studies.shakespeare import shakespeare
from tuning.studies.study import Search, Setting, Study

STUDIES: Mapping[str, Callable[[Setting], Study | Search]] = MappingProxyType(
    {
        each.__name__: each
        for each in (
            mnist,
            message_passing,
            centralized,
            large_batch,
            local_steps,
            rates,
            two_level,
            dynamic_steps,
            asynchronous,
            fedavg,
            participation,
            heterogeneity,
            shakespeare,
        )
    }
)
