"""What is in a folder of clips: the one rule for data sets, predictions, checks and the page of what is a clip."""

from episodes.listing.folders import (
    Listing,
    class_folders,
    find_clips,
    is_frame_folder,
    list_clips,
    refuse_links,
    tell_left_out,
)
from episodes.listing.kinds import VIDEO_SUFFIXES, is_passed_over, is_video, looks_like_video
from episodes.listing.names import Name, normal, require, resolve, resolve_names
from episodes.listing.twice import Pair, Twice, describe_pairs, find_equal, find_pairs, settle

__all__ = [
    "VIDEO_SUFFIXES",
    "Listing",
    "Name",
    "Pair",
    "Twice",
    "class_folders",
    "describe_pairs",
    "find_clips",
    "find_equal",
    "find_pairs",
    "is_frame_folder",
    "is_passed_over",
    "is_video",
    "list_clips",
    "looks_like_video",
    "normal",
    "refuse_links",
    "require",
    "resolve",
    "resolve_names",
    "settle",
    "tell_left_out",
]
