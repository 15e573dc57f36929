"""DIVA: a visual tower learns from frames alone what a frozen diffusion model says that its tokens lack."""

from fsar.training.diva.denoisers import DiffusionModel, StableDiffusion
from fsar.training.diva.diffusion import DiffusionFeedback
from fsar.training.diva.post_training import PostTraining

__all__ = ["DiffusionFeedback", "DiffusionModel", "PostTraining", "StableDiffusion"]
