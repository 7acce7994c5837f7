"""A new kind of image source is one module; all other places derive from it."""

import zipfile

import polars as pl
import pytest
from source_forms import read_tar

from .additions import CONFIG, RESULTS, documented, report_again

pytestmark = pytest.mark.slow

MODULE = "scripts/imagenet_think/images/sources/class_zips.py"
SOURCE = '''"""One `<wnid>.zip` per class."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagenet_think.images import image_ids
from imagenet_think.images.labels import Classes
from imagenet_think.images.sources import Entry, Read, SampledSource


def list_place(place: Path, classes: Classes) -> Iterator[Entry]:
    with zipfile.ZipFile(place) as archive:
        for member in archive.infolist():
            yield Entry(place.stem, member.filename, member.header_offset, member.file_size)


@contextmanager
def opened(place: Path) -> Iterator[Read]:
    with zipfile.ZipFile(place) as archive:
        yield lambda member, offset, size: archive.read(member)


SOURCE = SampledSource(
    paper="members of zip files",
    card="sampled from zip files",
    not_comparable="the images are zipped",
    pattern="{wnid}.zip",
    place="class zip",
    example="zip file per class",
    list_place=list_place,
    opened=opened,
    image_id=image_ids.stem,
)
'''


def test_a_source_is_one_module(finished):
    results = finished.root / RESULTS
    sample = pl.read_parquet(results / "images" / "sample.parquet")

    (finished.root / MODULE).write_text(SOURCE)
    with finished.editing() as config:
        drawn = config["images"]["source"]
        config["images"]["source"] = {"kind": "class_zips", "path": "zips"}

    said = finished.snakemake(*CONFIG, "sampling", check=False)
    assert "images.source.path: no images: zips/ does not exist. Put one zip file per class" in said
    (finished.root / "zips").mkdir()
    for wnid in drawn["classes"]:
        with zipfile.ZipFile(finished.root / f"zips/{wnid}.zip", "w") as archive:
            for name, data in read_tar(finished.root / drawn["path"] / f"{wnid}.tar").items():
                archive.writestr(name, data)
    finished.snakemake(*CONFIG, "sampling")
    found = pl.read_parquet(results / "images" / "sample.parquet")
    assert set(found["source"].str.slice(-4)) == {".zip"}
    assert found.drop("source").equals(sample.drop("source"))

    texts = report_again(finished)
    assert "sampled from zip files" in texts["write_card"]
    assert r"\newcommand{\ImageSource}{members of zip files}" in texts["export_numbers"]
    assert "the images are zipped" in texts["compare_with_paper"]
    assert "`class_zips`: One `<wnid>.zip` per class." in documented(finished)
