"""Sources: where data sets come from.

digits     Digits: scikit-learn's digits
vision     MNIST, FashionMNIST, EMNIST, CIFAR10, CIFAR100: published sets of images
shakespeare  Shakespeare: the roles of plays, and what letter comes next
leaf       Leaf: the JSON files of LEAF
synthetic  Synthetic: images of any size and number that can be learned, made from a seed
tensors    Tensors: the user's own
prepared   Prepared: any of them, written once to any file system and mapped from there
decoded    what must be decoded: piece by piece, in this process or in many
moments    mean and standard deviation of what comes in batches
"""
