import hashlib
import io
import json

import mlcroissant
import polars as pl
import pytest
from configs import config
from dataset_shards import REPORTED, ROWS, publish, write_tables
from PIL import Image

from imagenet_think.core.schemas import IMAGE
from imagenet_think.core.splits import CONFIGURATIONS
from imagenet_think.dataset import publication
from imagenet_think.dataset.dataset_fields import DESCRIPTIONS
from write_croissant import write_croissant

HARD = '_a_ % & # {b} \\ ~ ^ | <script>1</script> $c$ "d" 🏹 قوس\n\t'
RECOMMENDED = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'


@pytest.fixture
def described(tmp_path):
    """A function that writes a dataset with its description; it returns folder and JSON."""

    def write(full=False, changes=None, **options):
        folder = tmp_path / ("dataset_full" if full else "dataset")
        files = publish(folder, full=full, **options)
        path = folder / "croissant.json"
        tables = write_tables(tmp_path / "tables")[1:]
        write_croissant(files, tables, REPORTED, path, config(changes), full=full)
        return folder, json.loads(path.read_text(encoding="utf-8"))

    return write


def opened(folder):
    return mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))


def test_with_a_date_mlcroissant_has_no_warnings(described):
    dataset = {"dataset/published": "2026-01-31", "dataset/repository": "me/think"}
    folder, _ = described(changes=dataset)
    metadata = opened(folder).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert metadata.date_published.isoformat() == "2026-01-31T00:00:00"
    assert metadata.url == "https://huggingface.co/datasets/me/think"
    assert metadata.creators[0].name == "me"
    assert metadata.version == "1.0.0"
    assert any("ImageNet was collected" in text for text in metadata.data_biases)
    assert any("could be parsed" in text for text in metadata.data_limitations)


@pytest.mark.parametrize("full", [False, True])
def test_records_are_the_described_rows_also_in_a_copy_elsewhere(full, described, tmp_path):
    columns = {"question": HARD, "think_1": HARD, "lemma": HARD, "decoding_2": None}
    folder, found = described(full=full, columns=columns)
    folder = folder.rename(tmp_path / "elsewhere")
    dataset = opened(folder)
    types = {pl.String: "sc:Text", pl.Int64: "sc:Integer", pl.Boolean: "sc:Boolean"}
    types[IMAGE] = "sc:ImageObject"
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert [warning for warning in issues.warnings if RECOMMENDED not in warning] == []
    for name, place in CONFIGURATIONS.items():
        read = list(dataset.records(name))
        rows = pl.read_parquet(sorted((folder / place).glob("*.parquet")))
        (fields,) = (each["field"] for each in found["recordSet"] if each["@id"] == name)
        assert [field["name"] for field in fields] == ["split", *rows.columns]
        for field in fields[1:]:
            kind = types[rows.schema[field["name"]]]
            assert (field["dataType"], field["description"]) == (kind, DESCRIPTIONS[field["name"]])
        assert len(read) == len(rows) == sum(n for (own, _), n in ROWS.items() if own == name)
        for record, row in zip(read, rows.iter_rows(named=True), strict=True):
            assert record.keys() == {f"{name}/{column}" for column in ("split", *row)}
            for column, value in row.items():
                cell = record[f"{name}/{column}"]
                if column == "image":
                    image = Image.open(io.BytesIO(value["bytes"]))
                    assert list(cell.getdata()) == list(image.getdata())
                else:
                    assert (cell.decode() if isinstance(cell, bytes) else cell) == value
    files = [each for each in found["distribution"] if each["@type"] == "cr:FileObject"]
    assert {each["contentUrl"] for each in files} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")
    }
    for each in files:
        data = (folder / each["contentUrl"]).read_bytes()
        assert each["sha256"] == hashlib.sha256(data).hexdigest()
        assert each["contentSize"] == f"{len(data)} B"


def test_a_split_can_be_read_separately(described):
    dataset = opened(described()[0])
    for split in ("train", "validation", "test"):
        read = list(dataset.records("default", filters={"default/split": split}))
        assert [record["default/split"] for record in read] == [split.encode()] * ROWS[
            "default", split
        ]


def test_licences_cover_texts_and_images(described):
    texts = publication.LICENSES["cc-by-nc-4.0"][1]
    assert described()[1]["license"] == [texts]
    assert described(full=True)[1]["license"] == [texts, publication.IMAGENET_TERMS]
    drawings = {"images/source/kind": "drawings"}
    assert described(full=True, changes=drawings)[1]["license"] == [texts]


def test_a_different_run_says_so_with_hard_names(described):
    changes = {"run": HARD, "models/glm-4.1v/name": HARD, "models/glm-4.1v/repository": HARD}
    folder, found = described(changes=changes)
    metadata = opened(folder).metadata
    assert not metadata.ctx.issues.errors
    assert metadata.name == f"ImageNet-Think (run {HARD})"
    assert metadata.description.startswith(f"This is the run {HARD}, not the paper's")
    assert HARD in metadata.machine_annotation_tools
    assert HARD in found["rai:machineAnnotationTools"]
    assert described()[1]["description"].startswith("250,000 images of 10,450")
