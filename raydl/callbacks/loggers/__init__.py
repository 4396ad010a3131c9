"""Loggers: callbacks that keep a run's figures somewhere, a module each.

logger       what they have in common
named        those that a run names
csv          a table
tensorboard  charts, pictures and settings
mlflow       MLflow
wandb        Weights & Biases
"""
