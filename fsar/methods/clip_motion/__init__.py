"""Methods that read class names and the motion between frames, one lineage: CLIP-CPM²C, CLIP-MEI, CLIP-SPM."""

from fsar.methods.clip_motion.clip_cpm2c import ClipCPM2C
from fsar.methods.clip_motion.clip_mei import ClipMEI
from fsar.methods.clip_motion.clip_spm import ClipSPM

__all__ = ["ClipCPM2C", "ClipMEI", "ClipSPM"]
