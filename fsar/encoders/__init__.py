"""Clips to named features: CLIP, image networks, and what stands inside or beside their towers."""

from fsar.encoders.adapted import Adapted
from fsar.encoders.beside import Beside
from fsar.encoders.clip import ClipEncoder
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.image import ImageEncoder
from fsar.encoders.text_tower import TextEncoder

__all__ = ["Adapted", "Beside", "ClipEncoder", "FrameEncoder", "ImageEncoder", "TextEncoder"]
