"""Tars of webdataset samples of many classes (`timm/imagenet-w21-wds`).

The rules are webdataset's own: the key is the path up to the first dot of the file name, the rest
(in lower case) is the extension; members without an extension and those named `__…__` belong to no
sample; consecutive members of one key are one sample. A sample's image is its first member with
the extension of an image. Its class is told by, in this order, `wnid` in its json; its key (or
`filename` in its json), where that begins with a WordNet id; its `cls`, or `label` in its json.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from imagenet_think.images import archives, image_ids
from imagenet_think.images.labels import class_of
from imagenet_think.images.rejections import RejectionError
from imagenet_think.images.sources import Entry, Read, SampledSource

_IMAGES = {ending.removeprefix(".") for ending in image_ids.ENDINGS - {".gz"}}
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_MAX_LABEL = 2**20  # bytes of a json or cls member that is read


def split_name(name: str) -> tuple[str, str] | None:
    """Return key and extension of a member, or None where it belongs to no sample.

    Examples
    --------
    >>> split_name("a/n1_5.seg.PNG"), split_name("__key__.txt"), split_name("README")
    (('a/n1_5', 'seg.png'), None, None)
    """
    match = _KEY.fullmatch(name)
    if match is None or re.fullmatch(r"__.*__", match[1].rsplit("/", 1)[-1]):
        return None
    return match[1], match[2].lower()


def list_place(place: Path, labels: Sequence[str]) -> Iterator[Entry]:
    """Yield the image of each sample, and with its reason whatever cannot be read."""

    def keyed(member: Entry) -> tuple[str | None, str, Entry]:
        split = split_name(member.member) if member.member and not member.reason else None
        return *(split or (None, "")), member

    with archives.opened(place) as read:
        members = map(keyed, archives.list_members(place))
        for key, group in groupby(members, key=lambda item: item[0]):
            if key is None:  # damage and links; README and the like are ignored
                yield from (member for _, _, member in group if member.reason)
                continue
            parts: dict[str, Entry] = {}
            for _, extension, member in group:
                parts.setdefault(extension, member)
            image = next((part for name, part in parts.items() if name in _IMAGES), None)
            if image:
                yield _sample(place, key, image, parts, read, labels)


def _sample(
    place: Path,
    key: str,
    image: Entry,
    parts: Mapping[str, Entry],
    read: Read,
    labels: Sequence[str],
) -> Entry:
    """Return the image of a sample."""
    try:
        about = json.loads(_read(parts["json"], read)) if "json" in parts else {}
        if not isinstance(about, dict):
            about = {}
        label = _read(parts["cls"], read).decode().strip() if "cls" in parts else about.get("label")
        wnid = about.get("wnid") or class_of(
            key if re.search(r"n\d{8}", key) else str(about.get("filename") or key), label, labels
        )
    except (RejectionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        return Entry(*image[:4], "no_class", f"broken label of {key}: {error}")
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if wnid is None:
        detail = f"neither json, key nor cls of {key} names a class (label {label})"
        return Entry(*image[:4], "no_class", detail)
    return Entry(str(wnid), *image[1:])


def _read(member: Entry, read: Read) -> bytes:
    name, offset, size = member.member or "", member.offset or 0, member.size or 0
    if size > _MAX_LABEL:
        raise RejectionError("too_many_bytes", f"{name} has {size} bytes")
    return read(name, offset, size)


SOURCE = SampledSource(
    paper="samples of webdataset archives",
    optional_keys=("labels",),
    pattern="**/*.tar",
    place="tar of samples",
    example="or more tars of samples",
    list_place=list_place,
    opened=archives.opened,
    image_id=image_ids.stem,
)
