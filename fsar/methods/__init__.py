"""Few-shot methods, one paper one file."""

from fsar.methods.clip_fsar import ClipFSAR
from fsar.methods.prototype import Prototype
from fsar.methods.zero_shot import ZeroShot

__all__ = ["ClipFSAR", "Prototype", "ZeroShot"]
