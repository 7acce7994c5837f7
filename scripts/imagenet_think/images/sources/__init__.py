"""Where images come from: one module per value of `images.source.kind`, which describes it.

A module of this folder holds the constant `SOURCE`, which the rules, the checks of the config, the
card and the paper ask. The first line of its docstring documents the kind in `config/README.md`.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from imagenet_think.core import plugins
from imagenet_think.core.logs import some
from imagenet_think.images import class_table
from imagenet_think.images.labels import Classes

Read = Callable[[str, int, int | None], bytes]
"""Returns the bytes of a member, given its name, offset and size."""

CatalogueRow = dict[str, Any]


class Entry(NamedTuple):
    """A member of a place; if it cannot be read, `reason` and `detail` say why.

    `offset` is where its content begins (bytes), its row in a parquet file, or 0 for a file of its
    own. `size` is in bytes as stored, None where it is known only once the content is read. All are
    None for a damaged part of a place.
    """

    wnid: str | None
    member: str | None
    offset: int | None
    size: int | None
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of source: its keys in the config, and how texts about a run describe it.

    Attributes
    ----------
    paper
        Completes "The images of this run are …." in the paper.
    card
        Completes "Images: …." in the dataset card, for images of `owner`.
    owner
        Whose pictures they are, which decides what the card says about passing them on. "imagenet"
        is only believed of images that are all named as ImageNet's files are
        (`imagenet_think.report.evidence`).
    not_comparable
        Why results on these images cannot be compared with the paper's; None if they can.
    required_keys, optional_keys
        Keys of `images.source` besides `kind` and `path`.
    path_check
        How `images.source.path` is checked before a run: a value of `x-path` in the schema, or None
        if places are only looked for when a job needs them.
    """

    paper: str
    card: str = "sampled from a copy of ImageNet"
    owner: Literal["imagenet", "pipeline", "user"] = "imagenet"
    not_comparable: str | None = None
    required_keys: Collection[str] = ()
    optional_keys: Collection[str] = ()
    path_check: str | None = None
    sampled: ClassVar[bool] = False
    """Whether a sample is drawn; otherwise all images that the files list are the sample."""

    def has_pictures(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a source with these settings (`images.source`) holds pixels."""
        return self.sampled or settings.get("pictures", False)

    def problems(self, settings: Mapping[str, Any], classes: Sequence[str]) -> Iterator[str]:
        """Yield what is missing for a run with these settings (`images.source`) and classes."""
        yield from ()


@dataclass(frozen=True, kw_only=True)
class SampledSource(Source):
    """A source whose images are in places: archives, folders, or the whole source folder.

    Attributes
    ----------
    pattern
        Where places are in the source folder: a name with `{wnid}` if each place holds one class, a
        glob pattern if places hold many, or "." for the folder itself.
    place, example
        What a place is called, and what to put where there is none.
    list_place
        Yields everything in a place, given the classes and what labels mean. Nothing is decoded.
    opened
        Opens a place for reading members.
    image_id
        Returns the image_id of a member: the same in every layout for the same file name.
    made_by
        Who makes the places: the user, or a rule of the workflow, which unpacks or draws them.
    """

    pattern: str
    place: str
    example: str
    list_place: Callable[[Path, Classes], Iterator[Entry]]
    opened: Callable[[Path], AbstractContextManager[Read]]
    image_id: Callable[[str], str]
    made_by: Literal["user", "unpacking", "drawing"] = "user"
    sampled: ClassVar[bool] = True

    @property
    def by_class(self) -> bool:
        """Whether each place holds one class, and each group of classes lists its own places.

        Otherwise places are listed in groups, and the rows are sorted by class afterwards.
        """
        return "{wnid}" in self.pattern

    def place_of(self, wnid: str) -> str:
        """Return the place of a class, relative to the source folder."""
        return self.pattern.format(wnid=wnid)

    def places(self, folder: str | Path, classes: Sequence[str]) -> list[str]:
        """Return the places in a source folder, which need not exist, relative to it.

        They are in the order of `classes` if each holds one class, else in name order. Names are
        compared in Unicode's composed form.
        """
        if not os.path.isdir(folder):  # False also for a name too long for the file system
            return []
        folder = Path(folder)
        if self.by_class:
            # In decomposed form first, so that of two forms of one name the composed one counts.
            found = {class_table.composed(name): name for name in sorted(os.listdir(folder))}
            return [found[place] for place in map(self.place_of, classes) if place in found]
        paths = [folder] if self.pattern == "." else folder.glob(self.pattern)
        return sorted(path.relative_to(folder).as_posix() for path in paths if path.exists())

    def left_out(self, folder: str | Path, classes: Sequence[str]) -> list[str]:
        """Return what a source folder of one place per class holds besides them, in name order."""
        return sorted(set(os.listdir(folder)).difference(self.places(folder, classes)))

    def problems(self, settings: Mapping[str, Any], classes: Sequence[str]) -> Iterator[str]:
        """Yield what is missing for a run: places, unless a rule makes them."""
        folder = settings["path"]
        try:
            if self.made_by != "user" or self.places(folder, classes):
                return
        except OSError as error:
            yield f"images.source.path: {folder} cannot be read: {error.strerror}"
            return
        state = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        if os.path.isdir(folder):
            others = self.left_out(folder, classes) if self.by_class else []
            state = f"holds no {self.place}" + (f", but {some(others)}" if others else "")
        yield (
            f"images.source.path: no images: {folder}/ {state}. Put one {self.example} there "
            "(ImageNet-21k: winter21_whole.tar.gz or fall11_whole.tar from https://image-net.org, "
            "or their copies on the hub), name another folder as images.source.path, or name "
            "another layout as images.source.kind (config/README.md lists them). `make demo` needs "
            "no images"
        )

    def read(
        self, rows: Iterable[CatalogueRow], folder: Path
    ) -> Iterator[tuple[CatalogueRow, Read]]:
        """Yield each row of a catalogue, by place and position, with a function that reads it."""
        by_place = sorted(rows, key=lambda row: (row["source"], row["offset"], row["member"]))
        for name, members in groupby(by_place, key=lambda row: row["source"]):
            with self.opened(folder / name) as read:
                for row in members:
                    yield row, read


def kinds() -> tuple[str, ...]:
    """Return the values of `images.source.kind`."""
    return plugins.names("images.sources")


def get(kind: str) -> Source:
    """Return a kind of source, or raise ValueError."""
    return plugins.get("images.sources", kind).SOURCE


def get_sampled(kind: str) -> SampledSource:
    """Return a kind of source from which a sample is drawn, or raise ValueError."""
    source = get(kind)
    if not isinstance(source, SampledSource):
        raise ValueError(f"no sample is drawn from a source of kind {kind}")
    return source
