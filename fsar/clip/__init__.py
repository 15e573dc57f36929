"""Frame encoders (CLIP, ImageNet networks) and CLIP's text encoder."""

from fsar.clip.encoder import ClipEncoder
from fsar.clip.frame_encoder import FrameEncoder, FrameTokens
from fsar.clip.image_encoder import ImageEncoder
from fsar.clip.text import TextEncoder

__all__ = ["ClipEncoder", "FrameEncoder", "FrameTokens", "ImageEncoder", "TextEncoder"]
