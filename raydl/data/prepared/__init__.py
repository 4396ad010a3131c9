"""Prepared data: samples in files that are mapped into memory, so that none is ever read whole.

layout   what a folder holds: its shards, their columns, and dataset.json, which tells of them
shards   ShardWriter: samples into shards, a chunk in memory at a time
write    prepare: a data set, or what a source decodes, into a folder
stored   StoredColumn: samples in mapped files, copied from there as they are asked for
rows     Rows: a tensor of such samples, which a split of a data set holds
mapping  a folder opened: its shards looked at, mapped, and made a data set
memory   how much of mapped files the kernel can keep
cache    the shards of a bucket on this machine, copied once for all of its processes
verify   every byte of a folder compared with what was written
"""
