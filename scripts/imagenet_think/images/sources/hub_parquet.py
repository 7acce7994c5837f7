"""Parquet files with columns image and label, as `datasets` writes them (`timm/imagenet-w21-p`).

The label is an integer or the class itself. Integers index the names in the file's own metadata, if
those are classes; else `images.source.labels`, or the sorted class table if `count_classes` says
so; else they mean nothing, and the name of each image has to tell its class. An image is named by
the column `image_id`, if there is one, else by its path, else by file and row. Listing reads no
image bytes, so sizes are unknown until an image is read.

Reading a row means reading its row group up to it (the hub's files have about a hundred rows per
group), so images spread over all files cost more here than in archives with offsets.
"""

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from imagenet_think.images import archives, contents, image_ids
from imagenet_think.images.labels import Classes, by_metadata, class_of
from imagenet_think.images.rejections import RejectionError
from imagenet_think.images.sources import Entry, Read, SampledSource

if TYPE_CHECKING:  # the rules load this module, and pyarrow is slow to import
    pass

_LISTED = 65_536  # rows


def list_place(place: Path, classes: Classes) -> Iterator[Entry]:
    """Yield every row.

    Raises
    ------
    ValueError
        If columns are missing, a label contradicts its name, or integers mean nothing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(place) as file:
            columns = set(file.schema_arrow.names)
            image = file.schema_arrow.field("image").type if "image" in columns else pa.null()
            if "label" not in columns or not pa.types.is_struct(image):
                raise ValueError(
                    f"{place}: columns label and image (a struct of bytes and path) are needed; "
                    f"there are {', '.join(f'{f.name}: {f.type}' for f in file.schema_arrow)}"
                )
            wanted = ["label", "image.path", *(columns & {"image_id"})]
            try:
                classes = by_metadata(classes, file.schema_arrow.metadata, "label")
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
            for batch in file.iter_batches(_LISTED, columns=wanted):
                for values in batch.to_pylist():
                    yield _entry(place, row, values, classes)
                    row += 1
    except (pa.ArrowException, OSError) as error:
        if getattr(error, "errno", None) is not None:  # missing or unreadable, not damaged
            raise
        what = contents.described_file(place) or _message(error)
        detail = f"rows from {row} on not listed: {what}"
        yield Entry(None, None, None, None, "damaged_archive", detail)


def _entry(place: Path, row: int, values: dict, classes: Classes) -> Entry:
    path = (values.get("image") or {}).get("path")
    name = str(values.get("image_id") or path or f"{place.stem}_{row}")
    try:
        wnid = class_of(path or name, values["label"], classes)
    except ValueError as error:
        raise ValueError(f"{place}, row {row}: {error}") from error
    if wnid is None:
        count = len(classes.numbered or classes.known)
        detail = f"label {values['label']} of {name} is none of {count} classes"
        return Entry(None, name, row, None, "no_class", detail)
    if not archives.safe_name(name):
        return Entry(wnid, name, row, None, "unsafe_name", "the name leads out of its folder")
    return Entry(wnid, name, row, None)


@contextmanager
def opened(place: Path) -> Iterator[Read]:
    """Open a parquet file; rows read in ascending order go through each row group once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from imagenet_think.images.image_matching import pictures

    with pq.ParquetFile(place, buffer_size=2**20, pre_buffer=False) as file:
        groups = range(file.metadata.num_row_groups)
        rows = (file.metadata.row_group(group).num_rows for group in groups)
        starts = list(accumulate(rows, initial=0))
        stream: Iterator[tuple[int, bytes | None]] = iter(())
        group = position = -1

        def read(member: str, offset: int, size: int | None) -> bytes:
            nonlocal stream, group, position
            if bisect_right(starts, offset) - 1 != group or offset <= position:
                group = bisect_right(starts, offset) - 1
                stream = enumerate(pictures(file, group, "image"), starts[group])
            try:
                position, data = next(item for item in stream if item[0] >= offset)
            except (pa.ArrowException, OSError) as error:
                group = -1
                if getattr(error, "errno", None) is not None:  # missing or unreadable, not damaged
                    raise
                raise RejectionError("damaged_archive", _message(error)) from error
            if data is None:
                raise RejectionError("not_an_image", "the row holds no bytes")
            if len(data) > archives.MAX_BYTES:
                raise RejectionError("too_many_bytes", f"{len(data)} bytes")
            return data

        yield read


def _message(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


SOURCE = SampledSource(
    paper="rows of parquet files in the hub's layout",
    optional_keys=("labels", "count_classes"),
    pattern="**/*.parquet",
    place="parquet file",
    example="or more parquet files",
    list_place=list_place,
    opened=opened,
    image_id=image_ids.file_name,
)
