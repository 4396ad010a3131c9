"""How the best learning rate depends on K workers and J local steps: a sweep, halved by ASHA."""

from dataclasses import replace

from raydl.algorithms import LocalSGD
from raydl.optim import SGD
from tuning.studies.cifar100.local_steps import BATCH, DECAY, STEPS, WORKERS
from tuning.studies.cifar100.protocol import base
from tuning.studies.study import Scale, Search, Setting
from tuning.sweep import SweepConfig

RATES = (0.02, 0.05, 0.1, 0.2)
EPOCHS: dict[Scale, int] = {"smoke": 2, "short": 4, "full": 150}
GRACE: dict[Scale, float] = {"smoke": 1, "short": 2, "full": 30}  # epochs: K = 8 begins slowly


def rates(setting: Setting) -> Search:
    """LocalSGD over rate × K × J under ASHA: the best rate of each (K, J), the winner retrained."""
    smoke = setting.smoke
    algorithm = LocalSGD(optimizer=SGD(weight_decay=DECAY), batch_size=BATCH)
    space = {
        "algorithm.optimizer.lr": {"grid": [*(RATES[1:3] if smoke else RATES)]},
        "algorithm.workers": {"grid": [*(WORKERS[:1] if smoke else WORKERS)]},
        "algorithm.steps": {"grid": [*(STEPS[:1] if smoke else STEPS)]},
    }
    plan = SweepConfig(
        name=f"rates-{setting.scale}",
        searcher="grid",
        scheduler="asha",
        grace=GRACE[setting.scale],
        reduction=2.0,
        seeds=1 if smoke else 3,
    )
    return Search(replace(base(setting, EPOCHS[setting.scale]), algorithm=algorithm), space, plan)
