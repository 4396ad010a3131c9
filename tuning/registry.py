"""The studies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tuning.cifar100.asynchronous import asynchronous
from tuning.cifar100.centralized import centralized
from tuning.cifar100.dynamic_steps import dynamic_steps
from tuning.cifar100.fedavg import fedavg
from tuning.cifar100.heterogeneity import heterogeneity
from tuning.cifar100.large_batch import large_batch
from tuning.cifar100.local_steps import local_steps
from tuning.cifar100.participation import participation
from tuning.cifar100.rates import rates
from tuning.cifar100.two_level import two_level
from tuning.message_passing import message_passing
from tuning.mnist import mnist
from tuning.study import Search, Setting, Study

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
        )
    }
)
