"""Data: where samples come from, who has them, who takes part, and what they look like.

dataset         Split, Dataset: samples as tensors; the stratified train / validation / test split
sources         where data sets come from: published ones, made ones, the user's own
text            texts as samples: windows into them, and who says what
prepared        data sets in files that are mapped, not read: larger than memory, or shared
partitions      which samples each client holds
participations  who takes part in which round: by chance, by losses, by the time of day
augmentation    CropFlip: random changes of whole batches
transforms      Transforms: those of torchvision
gathered        samples that are put together as they are asked for
batches         the clients' samples as minibatches
forms           arrays, tables and data sets that are read sample by sample, brought to tensors
own             own sources, partitions and participations that are functions, and what they give
checks          what is wrong with what own ones give
figures         how labels, sizes and participation fall over the clients, counted and drawn
"""

from raydl.data.augmentation import CropFlip
from raydl.data.dataset import Dataset, Source, Split, split_stratified
from raydl.data.figures import (
    label_counts,
    plot_availability,
    plot_participation,
    plot_partition,
)
from raydl.data.participations.daily import Daily
from raydl.data.participations.intervals import Intervals
from raydl.data.participations.lossproportional import LossProportional
from raydl.data.participations.oort import Oort
from raydl.data.participations.participation import ParticipationSpec
from raydl.data.participations.powerofchoice import PowerOfChoice
from raydl.data.participations.selector import Moment, Selector, SelectorSpec
from raydl.data.participations.skewed import Skewed
from raydl.data.participations.uniform import Uniform
from raydl.data.partitions.dirichlet import Dirichlet
from raydl.data.partitions.iid import IID
from raydl.data.partitions.labels import ClassesPerClient
from raydl.data.partitions.mixed import Mixed
from raydl.data.partitions.natural import Natural
from raydl.data.partitions.pachinko import Pachinko
from raydl.data.partitions.partition import Partition, PartitionSpec
from raydl.data.partitions.powerlaw import PowerLaw
from raydl.data.partitions.quantity import QuantitySkew
from raydl.data.partitions.shards import Shards
from raydl.data.prepared.write import prepare
from raydl.data.sources.digits import Digits
from raydl.data.sources.huggingface import HuggingFace
from raydl.data.sources.image_folder import ImageFolder
from raydl.data.sources.leaf import Leaf
from raydl.data.sources.prepared import Prepared
from raydl.data.sources.shakespeare import Shakespeare
from raydl.data.sources.synthetic import Synthetic
from raydl.data.sources.table import Table
from raydl.data.sources.tensors import Tensors
from raydl.data.sources.torch_dataset import TorchDataset
from raydl.data.sources.vision import CIFAR10, CIFAR100, EMNIST, MNIST, FashionMNIST
from raydl.data.transforms import Transforms

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "EMNIST",
    "IID",
    "MNIST",
    "ClassesPerClient",
    "CropFlip",
    "Daily",
    "Dataset",
    "Digits",
    "Dirichlet",
    "FashionMNIST",
    "HuggingFace",
    "ImageFolder",
    "Intervals",
    "Leaf",
    "LossProportional",
    "Mixed",
    "Moment",
    "Natural",
    "Oort",
    "Pachinko",
    "ParticipationSpec",
    "Partition",
    "PartitionSpec",
    "PowerLaw",
    "PowerOfChoice",
    "Prepared",
    "QuantitySkew",
    "Selector",
    "SelectorSpec",
    "Shakespeare",
    "Shards",
    "Skewed",
    "Source",
    "Split",
    "Synthetic",
    "Table",
    "Tensors",
    "TorchDataset",
    "Transforms",
    "Uniform",
    "label_counts",
    "plot_availability",
    "plot_participation",
    "plot_partition",
    "prepare",
    "split_stratified",
]
