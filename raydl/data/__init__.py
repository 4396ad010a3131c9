"""Data: where samples come from, who has them, who takes part, and what they look like.

dataset        Split, Dataset: samples as tensors; the stratified train / validation / test split
sources        Digits, MNIST, FashionMNIST, CIFAR10, CIFAR100: published image sets
synthetic      Synthetic: an image set of any size that can be learned, made from a seed
tensors        Tensors: the user's own
arrays         arrays and lists as tensors
own            own sources, partitions and participations that are functions, and what they give
checks         what is wrong with what own ones give
parquet        prepare, Parquet: a data set on any file system, written once and read from there
partitions     Partition: who has which samples; IID, Shards, Natural
skew           Labels, Dirichlet, Quantity: partitions with a dial
participation  Uniform, Skewed: who takes part in which round
augmentation   CropFlip: random changes of whole batches
batches        the clients' samples as minibatches
figures        how labels, sizes and participation fall over the clients, counted and drawn
"""

from raydl.data.augmentation import CropFlip
from raydl.data.dataset import Dataset, Source, Split, split_stratified
from raydl.data.figures import label_counts, plot_participation, plot_partition
from raydl.data.parquet import Parquet, prepare
from raydl.data.participation import ParticipationSpec, Skewed, Uniform
from raydl.data.partitions import IID, Natural, Partition, PartitionSpec, Shards
from raydl.data.skew import Dirichlet, Labels, Quantity
from raydl.data.sources import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST
from raydl.data.synthetic import Synthetic
from raydl.data.tensors import Tensors

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "IID",
    "MNIST",
    "CropFlip",
    "Dataset",
    "Digits",
    "Dirichlet",
    "FashionMNIST",
    "Labels",
    "Natural",
    "Parquet",
    "ParticipationSpec",
    "Partition",
    "PartitionSpec",
    "Quantity",
    "Shards",
    "Skewed",
    "Source",
    "Split",
    "Synthetic",
    "Tensors",
    "Uniform",
    "label_counts",
    "plot_participation",
    "plot_partition",
    "prepare",
    "split_stratified",
]
