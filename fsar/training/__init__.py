"""Training: the learner, its schedule, checkpoints to go on from, and what is shown while it runs.

>>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
>>> schedule = WarmupSteps(optimizer, warmup=2, start=0.5, milestones=[4])
>>> rates = []
>>> for _ in range(6):
...     rates.append(round(schedule.get_last_lr()[0], 3))
...     optimizer.step()
...     schedule.step()
>>> rates
[0.5, 0.75, 1.0, 1.0, 0.1, 0.1]
"""

from fsar.training.averaging import WeightEMA
from fsar.training.checkpoints import BestCheckpoint, LastCheckpoint, ResumePoint
from fsar.training.diva.diffusion import DiffusionFeedback
from fsar.training.learner import Learner, check_checkpoint
from fsar.training.live import EpisodeProgress, Pictures
from fsar.training.schedule import WarmupSteps

__all__ = [
    "BestCheckpoint",
    "DiffusionFeedback",
    "EpisodeProgress",
    "LastCheckpoint",
    "Learner",
    "Pictures",
    "ResumePoint",
    "WarmupSteps",
    "WeightEMA",
    "check_checkpoint",
]
