"""Models: plain ``nn.Module`` classes, made for inputs of a shape and a number of classes.

dense        Softmax (softmax regression) and MLP
cnn          MnistCNN, CifarCNN and LeNet
resnet       ResNet18 with GroupNorm
recurrent    CharLSTM, over tokens
transformer  Decoder, over tokens
autoencoder  Autoencoder, of inputs of any shape
tokens       what models of tokens ask of a sample
"""

from raydl.models.autoencoder import Autoencoder
from raydl.models.cnn import CifarCNN, LeNet, MnistCNN
from raydl.models.dense import MLP, Softmax
from raydl.models.recurrent import CharLSTM
from raydl.models.resnet import ResNet18
from raydl.models.transformer import Decoder

__all__ = [
    "MLP",
    "Autoencoder",
    "CharLSTM",
    "CifarCNN",
    "Decoder",
    "LeNet",
    "MnistCNN",
    "ResNet18",
    "Softmax",
]
