"""What is in a folder of clips: the one rule for data sets, predictions, checks and the page of what is a clip.

>>> for name in ("clips/wave/a.mp4", "clips/wave/.a.mp4.swp", "clips/wave/notes.txt"):
...     Path(name).parent.mkdir(parents=True, exist_ok=True)
...     _ = Path(name).write_bytes(b"")
>>> find_clips(Path("clips/wave"), listed=None, left_out={})
['a.mp4']
>>> is_video("a.MP4"), is_video("a.jpg"), is_passed_over("Thumbs.db")
(True, False, True)
"""

from episodes.listing.duplicates import (
    Pair,
    Twice,
    describe_pairs,
    find_equal,
    find_pairs,
    have_one_name,
    joined,
    settle,
)
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
from episodes.listing.names import Name, as_names, normal, require, resolve, resolve_names
from episodes.listing.survey import Surveyed, survey

__all__ = [
    "VIDEO_SUFFIXES",
    "Listing",
    "Name",
    "Pair",
    "Surveyed",
    "Twice",
    "as_names",
    "class_folders",
    "describe_pairs",
    "find_clips",
    "find_equal",
    "find_pairs",
    "have_one_name",
    "is_frame_folder",
    "is_passed_over",
    "is_video",
    "joined",
    "list_clips",
    "looks_like_video",
    "normal",
    "refuse_links",
    "require",
    "resolve",
    "resolve_names",
    "settle",
    "survey",
    "tell_left_out",
]
