"""Sources: where data sets come from.

digits     Digits: scikit-learn's digits
vision     MNIST, FashionMNIST, CIFAR10, CIFAR100: published sets of images
synthetic  Synthetic: images of any size and number that can be learned, made from a seed
tensors    Tensors: the user's own
parquet    prepare, Parquet: a data set on any file system, written once and read from there
"""
