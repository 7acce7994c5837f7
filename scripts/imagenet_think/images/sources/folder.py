"""Your own images; folders inside are classes.

An image in a folder inside belongs to the class of that folder's name (the first level counts); an
image directly in the folder belongs to the class of the folder's own name. The image_id is the path
relative to the folder, without the ending, so that `cats/1.jpg` and `dogs/1.jpg` do not clash.
"""

from collections.abc import Iterator
from pathlib import Path

from imagenet_think.images import class_table, image_ids
from imagenet_think.images.labels import Classes
from imagenet_think.images.sources import Entry, SampledSource
from imagenet_think.images.sources.class_folders import list_files, opened


def list_place(place: Path, classes: Classes) -> Iterator[Entry]:
    """Yield every file of the folder and of the folders in it."""
    own = class_table.composed(place.resolve().name)
    for entry in list_files(place):
        first, slash, _ = class_table.composed(entry.member or "").partition("/")
        if slash:
            yield Entry(first, *entry[1:])
        else:  # what is no file may be a class
            yield Entry(None if entry.reason else own, *entry[1:])


SOURCE = SampledSource(
    paper="the user's own files",
    card="sampled from a folder of the user's own images",
    owner="user",
    not_comparable="the images are the user's own, not ImageNet-21k's",
    pattern=".",
    place="image",
    example="or more images",
    list_place=list_place,
    opened=opened,
    image_id=image_ids.relative_path,
)
