"""Asking clients for the loss of parameters on their own samples, many clients at once.

All are asked about the same parameters, so the samples of several clients go through the model
together, whoever they belong to. Nothing is augmented, nothing dropped out.
"""

from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from raydl.core.algorithm import Work
from raydl.core.grad import forward
from raydl.core.task import Task
from raydl.core.tree import Params
from raydl.data.batches import ClientData
from raydl.runtimes.worker.evaluation import AT_ONCE


@torch.no_grad()
def survey(task: Task, params: Params, data: ClientData, work: Work) -> dict[str, Tensor]:
    """The clients' losses, columns as `raydl.runtimes.runtime.Runtime.survey` has them.

    Args:
        task: what is learned.
        params: the parameters that are asked about.
        data: samples of the clients.
        work: whom, and on which samples: the first minibatch of each.
    """
    started = perf_counter()
    task.model.eval()
    asked = [data.first_minibatch(work, client) for client in work.clients]
    samples = torch.tensor([len(each) for each in asked], dtype=torch.float64)
    indices = np.concatenate(asked)
    owners = torch.arange(len(asked)).repeat_interleave(samples.long())
    losses, weights = (torch.zeros(len(asked), dtype=torch.float64) for _ in range(2))
    for start in range(0, len(indices), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        stored, targets = data.gather(indices[part])
        inputs = data.prepare(stored)
        compared = task.spec.target(inputs, targets)
        each = task.spec.losses(forward(task, params, inputs), compared).double().cpu()
        counts = task.spec.weights(compared)
        weight = torch.ones_like(each) if counts is None else counts.double().cpu()
        losses.index_add_(0, owners[part], each * weight)
        weights.index_add_(0, owners[part], weight)
    seconds = (perf_counter() - started) / samples.sum()
    return {
        "client": torch.tensor(work.clients, dtype=torch.float64),
        "samples": samples,
        "loss": losses / weights,
        "seconds": seconds * samples,
    }
