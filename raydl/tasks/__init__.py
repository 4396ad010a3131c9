"""Tasks: the loss and the metrics of what is learned, one kind of prediction a file.

classification  one class of each sample
next_token      the next token at each place of a sequence
segmentation    one class of each pixel
multi_label     any number of labels of each sample
regression      real numbers
reconstruction  the input itself
own             a loss that is a function
usual           what is usual for the data
counting        sums over samples that metrics of classes are made of
"""

from raydl.core.task import TaskSpec
from raydl.tasks.classification import Classification
from raydl.tasks.multi_label import MultiLabel
from raydl.tasks.next_token import NextToken
from raydl.tasks.reconstruction import Reconstruction
from raydl.tasks.regression import Regression
from raydl.tasks.segmentation import Segmentation

TASKS = (Classification, Regression, MultiLabel, NextToken, Segmentation, Reconstruction)

__all__ = [
    "TASKS",
    "Classification",
    "MultiLabel",
    "NextToken",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "TaskSpec",
]
