"""Tars of webdataset samples of many classes (`timm/imagenet-w21-wds`).

The rules are webdataset's own: the key is the path up to the first dot of the file name, the rest
(in lower case) is the extension; members without an extension and those named `__…__` belong to no
sample; consecutive members of one key are one sample. What a member holds is told by the last part
of its extension, as in webdataset's decoders: `n1_5.image.jpg` is an image. A sample's image is its
first one with an extension of one part, else its first one; any further image is excluded as
`extra_image`. Its class is told by, in this order, `wnid` in its json; its key (or `filename` in
its json), where that begins with a WordNet id; its `cls`, or `label` in its json.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from imagenet_think.core import json_text
from imagenet_think.core.logs import SHOWN, logger, some
from imagenet_think.images import archives, class_table, image_ids
from imagenet_think.images.labels import Classes, class_of
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


def list_place(place: Path, classes: Classes) -> Iterator[Entry]:
    """Yield the images of each sample, and with its reason whatever cannot be read.

    What is no image is not yielded; members that belong to no sample, and samples without an image,
    are counted in the log.
    """

    def keyed(member: Entry) -> tuple[str | None, str, Entry]:
        split = split_name(member.member) if member.member and not member.reason else None
        return *(split or (None, "")), member

    others: list[str] = []
    count = 0
    with archives.opened(place) as read:
        members = map(keyed, archives.list_members(place))
        for key, group in groupby(members, key=lambda item: item[0]):
            if key is None:  # damage and links, or a README and the like
                for _, _, member in group:
                    if member.reason:
                        yield member
                    else:
                        count += 1
                        others = [*others[:SHOWN], f"{member.member} (of no sample)"]
                continue
            parts = [(extension, member) for _, extension, member in group]
            images = [part for part in parts if part[0].rpartition(".")[2] in _IMAGES]
            if not images:
                count += len(parts)
                others = [*others[:SHOWN], f"{key} (a sample without an image)"]
                continue
            _, image = used = next((part for part in images if part[0] in _IMAGES), images[0])
            first = dict(reversed(parts))
            yield (sample := _sample(place, key, image, first, read, classes))
            for part in images:
                if part is not used:
                    detail = f"{image.member} is the image of this sample"
                    yield Entry(sample.wnid, *part[1][1:4], "extra_image", detail)
    if others:
        message = "%s: %d members are left out: %s"
        logger.warning(message, place.name, count, some(others))


def _sample(
    place: Path,
    key: str,
    image: Entry,
    parts: Mapping[str, Entry],
    read: Read,
    classes: Classes,
) -> Entry:
    """Return the image of a sample."""
    try:
        about = json_text.loads(_read(parts["json"], read)) if "json" in parts else {}
        if not isinstance(about, dict):
            about = {}
        label = _read(parts["cls"], read).decode().strip() if "cls" in parts else about.get("label")
        named = key if re.search(r"n\d{8}", key) else str(about.get("filename") or key)
        f"{about.get('wnid')}{named}{label}".encode()  # half a character cannot be stored
    except (RejectionError, ValueError, RecursionError) as error:
        detail = str(error).encode(errors="backslashreplace").decode()
        return Entry(*image[:4], "no_class", f"broken label of {key}: {detail}")
    try:
        wnid = about.get("wnid") or class_of(named, label, classes)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if wnid is None:
        detail = f"neither json, key nor cls of {key} names a class (label {label})"
        return Entry(*image[:4], "no_class", detail)
    return Entry(class_table.composed(str(wnid)), *image[1:])


def _read(member: Entry, read: Read) -> bytes:
    name, offset, size = member.member or "", member.offset or 0, member.size or 0
    if size > _MAX_LABEL:
        raise RejectionError("too_many_bytes", f"{name} has {size} bytes")
    return read(name, offset, size)


SOURCE = SampledSource(
    paper="samples of webdataset archives",
    optional_keys=("labels", "count_classes"),
    pattern="**/*.tar",
    place="tar of samples",
    example="or more tars of samples",
    list_place=list_place,
    opened=archives.opened,
    image_id=image_ids.stem,
)
