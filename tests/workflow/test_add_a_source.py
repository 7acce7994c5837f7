"""A new kind of image source is one module; all other places derive from it."""

import json
import zipfile

import polars as pl
import pytest
import yaml
from source_forms import read_tar

from .conftest import CONFIG, changed_files, read_files

pytestmark = pytest.mark.slow

MODULE = "scripts/imagenet_think/images/sources/class_zips.py"
SOURCE = '''"""One `<wnid>.zip` per class."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagenet_think.images import image_ids
from imagenet_think.images.sources import Entry, Read, SampledSource


def list_place(place: Path, labels: Sequence[str] = ()) -> Iterator[Entry]:
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


def test_a_source_is_one_module(tiny, tmp_path):
    project = tiny.copy(tmp_path / "project")
    results, before = project.root / "results" / "tiny", read_files(project)
    sample = pl.read_parquet(results / "images" / "sample.parquet")

    (project.root / MODULE).write_text(SOURCE)
    config = yaml.safe_load((project.root / "config/tiny.yaml").read_text())
    drawn = config["images"]["source"]
    config["images"]["source"] = {"kind": "class_zips", "path": "zips"}
    (project.root / "config/tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert changed_files(project, before) == {MODULE, "config/tiny.yaml"}

    said = project.snakemake(*CONFIG, "sampling", check=False)
    assert "images.source.path: no images: zips/ does not exist. Put one zip file per class" in said
    (project.root / "zips").mkdir()
    for wnid in drawn["classes"]:
        with zipfile.ZipFile(project.root / f"zips/{wnid}.zip", "w") as archive:
            for name, data in read_tar(project.root / drawn["path"] / f"{wnid}.tar").items():
                archive.writestr(name, data)
    project.snakemake(*CONFIG, "sampling")
    found = pl.read_parquet(results / "images" / "sample.parquet")
    assert set(found["source"].str.slice(-4)) == {".zip"}
    assert found.drop("source").equals(sample.drop("source"))

    texts = project.report_again()
    assert "Images: sampled from zip files." in texts["card"]
    assert r"\newcommand{\ImageSource}{members of zip files}" in texts["macros"]
    assert "the images are zipped" in texts["comparison"]
    described = project.call(BIN_PYTHON, "-m", "imagenet_think.run.configuration")
    assert "`class_zips`: One `<wnid>.zip` per class." in described
