"""Forms that data comes in, brought to tensors.

arrays   tensors, numpy's arrays, lists, and dictionaries of them
frames   pandas' tables
reading  torch's data sets, sample by sample
"""
