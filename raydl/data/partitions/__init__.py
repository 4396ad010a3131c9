"""Partitions: which training samples each client holds, one a file.

partition  Partition, PartitionSpec: what a partition is, and what several have in common
iid        IID: equal parts of samples in random order
shards     Shards: samples sorted by label, some shards for each client
labels     Labels: so many classes for each client
dirichlet  Dirichlet: classes divided by proportions that are drawn
quantity   Quantity: sizes that differ, labels that do not
natural    Natural: the clients that the data names
pachinko   Pachinko: few superclasses for each client, by a hierarchy of Dirichlet draws
mixed      Mixed: a superclass for each client, mixed with samples of all
powerlaw   PowerLaw: few neighbouring classes for each client, and lognormal sizes
superclasses  the superclasses of classes, and CIFAR-100's
"""
