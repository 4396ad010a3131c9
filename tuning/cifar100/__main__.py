"""``python -m tuning.cifar100 centralized|large_batch|local_steps|asynchronous``."""

from tuning.cifar100.asynchronous import asynchronous
from tuning.cifar100.centralized import centralized
from tuning.cifar100.large_batch import large_batch
from tuning.cifar100.local_steps import local_steps
from tuning.study import command

if __name__ == "__main__":
    command("tuning.cifar100", [centralized, large_batch, local_steps, asynchronous])
