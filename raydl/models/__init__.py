"""Models: plain ``nn.Module`` classes, made for inputs of a shape and a number of classes.

dense   Softmax (softmax regression) and MLP
cnn     MnistCNN, CifarCNN and LeNet
resnet  ResNet18 with GroupNorm
"""

from raydl.models.cnn import CifarCNN, LeNet, MnistCNN
from raydl.models.dense import MLP, Softmax
from raydl.models.resnet import ResNet18

__all__ = ["MLP", "CifarCNN", "LeNet", "MnistCNN", "ResNet18", "Softmax"]
