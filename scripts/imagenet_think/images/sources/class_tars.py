"""One `<wnid>.tar` per class, directly in the source folder, as ImageNet distributes them."""

from collections.abc import Iterator
from pathlib import Path

from imagenet_think.images import archives, class_table, image_ids
from imagenet_think.images.labels import Classes
from imagenet_think.images.sources import Entry, SampledSource


def list_place(place: Path, classes: Classes) -> Iterator[Entry]:
    """Yield the members of a class archive; its name is the class."""
    for entry in archives.list_members(place):
        yield Entry(class_table.composed(place.stem), *entry[1:])


SOURCE = SampledSource(
    paper="files from one archive per class",
    pattern="{wnid}.tar",
    place="class archive",
    example="archive per class, such as n00005787.tar,",
    list_place=list_place,
    opened=archives.opened,
    image_id=image_ids.stem,
)
