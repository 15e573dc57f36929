"""What a frozen encoder, or the frozen half of one, gives, on disk: videos are decoded and encoded once for all runs.

A store is a folder ``<root>/<split>-<key>`` whose key is a hash of everything that decides the numbers in it: the
encoder and its weights, number of frames, frame sampler, transform, reader, list of videos. Another configuration
has another key, so features that do not belong to it are never read; :func:`open_store` says what differs.

The features are one ``.npy`` file, ``(v m t d)`` for ``v`` videos in ``m`` views, or ``(v m t p w)`` for the tokens of
a frozen half: numpy's own documented format, kept for good and readable by everything (bfloat16, which numpy lacks,
as the same 16 bits in uint16). It is memory-mapped, so that an episode costs the pages it touches (0.02 ms for 30
clips were measured; LMDB 0.13, safetensors 0.3, zarr 9) and all processes of a machine share one copy.

Writing is safe against whatever may stop it. Work is cut into chunks of 16 videos; a chunk becomes a file in ``parts/``
under a temporary name, is brought to disk, and only then gets its final name. What has its final name is complete, and
another start goes on with the chunks that are missing. Two writers at once do no harm: each looks whether a chunk is
there before it makes it. (``fsar extract`` lets the second wait, for both would do the same chunks.) At
last the parts are joined, with a checksum of each video's features; the joined file is renamed as well, and its
existence means that the store is complete.

Nothing on disk is believed unseen. On opening, shape, dtype, counts and checksums of the small files are compared with
one another, and every video with its size, time, and hash of head, middle and tail (the contents decide: where size and
time are as before they are not read, and a copy with another time is the same video); features are compared with their
checksum when they are first read. :func:`mend` takes out what is damaged, so that only that is encoded again.

>>> from PIL import Image
>>> from episodes.clips import Features
>>> from episodes.dataset import ClipDataset
>>> from episodes.frames import SegmentCentre
>>> from episodes.splits import Split
>>> from episodes.transforms import ClipTransform
>>> for grey in ("80", "160"):  # two videos of four images
...     Path(grey).mkdir()
...     for t in range(4):
...         Image.new("L", (8, 8), int(grey)).save(f"{grey}/{t}.png")
>>> split = Split("test", ("wave", "run"), ("80", "160"), (0, 1), Path())
>>> clips = ClipDataset(split, SegmentCentre(), ClipTransform(8, resize_to=8), frames=2)
>>> writer = FeatureWriter(Path("stores"), clips, encoder="mean colour")
>>> for chunk in writer.pending():
...     pixels = writer.read(chunk)["frames"].float()  # (b t c h w)
...     writer.write(chunk, Features(frames=pixels.mean((-1, -2))))
>>> writer.finish().folder.name == folder_name(split, store_key(clips, "mean colour"))
True
>>> open_store(Path("stores"), clips, "mean colour").clip(1)["frames"]  # (t d)
tensor([[160., 160., 160.],
        [160., 160., 160.]])
"""

from episodes.features.cache import with_cache
from episodes.features.imported import open_clips
from episodes.features.key import folder_name, made_from, store_key
from episodes.features.mend import mend
from episodes.features.store import FeatureStore, StoredClips, open_store
from episodes.features.writer import FeatureWriter

__all__ = [
    "FeatureStore",
    "FeatureWriter",
    "StoredClips",
    "folder_name",
    "made_from",
    "mend",
    "open_clips",
    "open_store",
    "store_key",
    "with_cache",
]
