"""Is a file a video? Its suffix says so, or says that it is not; where it says nothing, the first bytes decide."""

from __future__ import annotations

import os
import re

from episodes.video.container import BOXES, HEAD, PICTURE_BRANDS, other_kind
from episodes.video.images import SUFFIXES as IMAGES

VIDEO_SUFFIXES = frozenset(
    re.findall(
        r"\S+",
        """.264 .265 .3g2 .3gp .amv .asf .avc .avi .divx .dv .f4v .flv .gif .h261 .h263 .h264 .h265 .hevc .ivf .m1v .m2t
    .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .obu .ogm .ogv .qt .rm .rmvb .ts
    .vob .webm .wmv .wtv .y4m""",
    )
)
"""Of files that are videos. ``.ts`` and ``.mts`` are also those of TypeScript: a file of text is none."""

OTHER_SUFFIXES = IMAGES | frozenset(
    re.findall(
        r"\S+",
        """.7z .aac .ac3 .aif .aiff .amr .ape .arw .ass .avif .bak .bib .bz2 .c .caf .cfg .ckpt .cpp .cr2 .crdownload
    .css .csv .db .dcm .dng .doc .docx .download .dvc .exr .feather .flac .gz .h .h5 .hdf5 .hdr .heic .heif .html .ico
    .ini .ipynb .j2k .jp2 .jpe .jpf .jpx .js .json .jsonl .jxl .lnk .lock .log .lrc .lz4 .m3u .m3u8 .m4a .m4b .m4r .mat
    .md .mid .mka .mks .mp2 .mp3 .mpc .mpd .nef .npy .npz .nrrd .oga .onnx .opus .orf .part .partial .parquet
    .pdf .pfm .pgm .pickle .pkl .png .pnm .ppm .ppt .pptx .psd .pt .pth .py .ra .rar .raw .rst .rtf .rw2 .safetensors
    .sbv .sh .spx .srt .ssa .stl .sub .svg .tar .tfrecord .tga .thm .tif .tiff .tmp .toml .torrent .tsv .tta .txt .url
    .voc .vtt .wav .wma .wv .xls .xlsx .xml .xmp .xz .yaml .yml .zip .zst""",
    )
)
"""Of files that are none, whatever they hold: pictures, sound, texts, archives, numbers, unfinished downloads."""

_SYSTEM = re.compile(
    r"\..*|__MACOSX|@eaDir|@Recycle|@Recently-Snapshot|@tmp|@SynoResource|#recycle|#snapshot|~snapshot|lost\+found|"
    r"\$RECYCLE\.BIN|RECYCLER|System Volume Information|Thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|Icon\r|"
    r"__pycache__|Network Trash Folder|Temporary Items",
    re.IGNORECASE,
)
_HEADS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: wmv
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1 and -2 video
    b"\x00\x00\x01\xb0",  # MPEG-4 video
    b"\x12\x00\x0a",  # AV1 units
    b"\x1f\x07\x00",  # DV
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11",  # Windows recorded television
    b"\x06\x0e\x2b\x34",  # MXF
    b"FLV",
    b"GIF8",
    b".RMF",
    b"DKIF",
    b"YUV4MPEG2 ",
    b"nut/multimedia container",
)
_BRANDS = PICTURE_BRANDS | {b"M4A ", b"M4B ", b"M4P "}  # no moving picture
_OGG = (b"\x80theora", b"OVP80", b"BBCD\x00", b"\x01video\x00")
_RIFF = {b"AVI ", b"AMV ", b"CDXA"}
_ANNEX_B = re.compile(rb"\x00?\x00\x00\x01[\x09\x27\x47\x67\x40\x42\x46]")  # first unit of H.264 or HEVC
_PACKETS = ((0, 188), (4, 192), (0, 204))


def is_passed_over(name: str) -> bool:
    """Hidden, or made by an operating system, an archiver or a network drive: never a class, a clip or a frame.

    >>> is_passed_over(".DS_Store"), is_passed_over("wave")
    (True, False)
    """
    return _SYSTEM.fullmatch(name) is not None


def suffix_of(name: str) -> str:
    """The last suffix, in small letters."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if stem and dot else ""


def is_video(path: str | os.PathLike[str]) -> bool:
    """Is this file, which is no folder, a video? It is opened only where its suffix does not say."""
    suffix = suffix_of(os.path.basename(path))
    if suffix in (".ts", ".mts"):
        return not other_kind(_head(path))
    if suffix in VIDEO_SUFFIXES or suffix in OTHER_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    return looks_like_video(head := _head(path)) and not other_kind(head)


def looks_like_video(head: bytes) -> bool:
    """Does a file that begins with these bytes begin like a video?

    Texts that name other files, such as playlists, do not, and neither do pictures and sounds; see also
    :func:`episodes.video.container.other_kind`.

    >>> looks_like_video(b"RIFF    AVI "), looks_like_video(b"hello")
    (True, False)
    """
    if head[4:8] in BOXES:
        return not (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)
    if head[:4] in (b"RIFF", b"RIFX"):
        return head[8:12] in _RIFF
    if head[:4] == b"OggS":
        return any(mark in head for mark in _OGG)
    return head.startswith(_HEADS) or _ANNEX_B.match(head) is not None or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes at the distance of packets; the first packet may be cut off."""
    for first, size in _PACKETS:
        for start in range(first, first + size):
            marks = head[start::size][:5]
            if len(marks) > 2 and marks == b"\x47" * len(marks):
                return True
    return False


def _head(path: str | os.PathLike[str]) -> bytes:
    """The first bytes of a file; none of one that is no regular file or cannot be opened."""
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
