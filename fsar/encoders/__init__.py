"""Clips to named features: CLIP, image and video networks, and what stands inside or beside their towers.

>>> encoder = ClipEncoder("fsar-tiny", "shapes")
>>> clips = torch.zeros(2, 8, 3, 64, 64, dtype=torch.uint8)  # (b t c h w)
>>> encoder.channels, encoder.frozen, encoder.text is not None
(64, True, True)
"""

from fsar.encoders.adapted import Adapted
from fsar.encoders.audio import AudioEncoder, WithSound
from fsar.encoders.beside import Beside, TwoResolutions
from fsar.encoders.clip import ClipEncoder
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.image import ImageEncoder
from fsar.encoders.imported import Imported
from fsar.encoders.long_text import LongText
from fsar.encoders.skeleton_views import SkeletonViews
from fsar.encoders.tower.text_tower import TextEncoder
from fsar.encoders.video.encoder import VideoEncoder

__all__ = [
    "Adapted",
    "AudioEncoder",
    "Beside",
    "ClipEncoder",
    "FrameEncoder",
    "ImageEncoder",
    "Imported",
    "LongText",
    "SkeletonViews",
    "TextEncoder",
    "TwoResolutions",
    "VideoEncoder",
    "WithSound",
]
