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
from typing import Any

from imagenet_think.images import archives, image_ids
from imagenet_think.images.archives import Member
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
    """Yield the image of each sample, and with its reason whatever cannot be read.

    Raises
    ------
    ValueError
        If a label contradicts the name of its image.
    """

    def key(member: Member) -> str | None:
        split = member.name and not member.reason and split_name(member.name)
        return split[0] if split else None

    with archives.opened(place) as read:
        for name, group in groupby(archives.list_members(place), key):
            if name is None:  # damage, links; README and the like are passed over
                yield from (Entry(None, *member) for member in group if member.reason)
            else:
                yield from _sample(place, name, list(group), read, labels)


def _sample(
    place: Path, key: str, members: list[Member], read: Read, labels: Sequence[str]
) -> Iterator[Entry]:
    """Yield the image of a sample, if it has one."""
    parts: dict[str, Member] = {}
    for member in members:
        parts.setdefault(split_name(member.name)[1], member)
    image = next((part for extension, part in parts.items() if extension in _IMAGES), None)
    if image is None:
        return
    try:
        about = _json(parts, read)
        label = _read(parts["cls"], read).decode().strip() if "cls" in parts else about.get("label")
        wnid = about.get("wnid") or class_of(
            key if re.search(r"n\d{8}", key) else str(about.get("filename") or key), label, labels
        )
    except (RejectionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        yield Entry(None, *image[:3], "no_class", f"broken label of {key}: {error}")
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    else:
        if wnid is None:
            detail = f"neither json, key nor cls of {key} names a class (label {label})"
            yield Entry(None, *image[:3], "no_class", detail)
        else:
            yield Entry(str(wnid), *image)


def _json(parts: Mapping[str, Member], read: Read) -> dict[str, Any]:
    """Return what the sample's json says, nothing where there is none or it is no object."""
    content = json.loads(_read(parts["json"], read)) if "json" in parts else {}
    return content if isinstance(content, dict) else {}


def _read(member: Member, read: Read) -> bytes:
    if member.size > _MAX_LABEL:
        raise RejectionError("too_many_bytes", f"{member.name} has {member.size} bytes")
    return read(member.name, member.offset, member.size)


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
