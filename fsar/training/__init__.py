"""Training: the learner, its schedule, checkpoints to go on from, and what is shown while it runs."""

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
