"""From numbers to clips: what a data loader reads, for training episodes and for videos that are encoded once."""

from episodes.dataset.beside import Captions, Joints, Regions, are_joints
from episodes.dataset.episodes import EpisodeDataset, IndexEpisodes, collate_videos, index_episodes, needed_videos
from episodes.dataset.loaders import ClipLoader, EpisodeLoader
from episodes.dataset.mirroring import Mirroring
from episodes.dataset.reading import ClipDataset, ClipSource, Transform, leave_out_broken

__all__ = [
    "Captions",
    "ClipDataset",
    "ClipLoader",
    "ClipSource",
    "EpisodeDataset",
    "EpisodeLoader",
    "IndexEpisodes",
    "Joints",
    "Mirroring",
    "Regions",
    "Transform",
    "are_joints",
    "collate_videos",
    "index_episodes",
    "leave_out_broken",
    "needed_videos",
]
