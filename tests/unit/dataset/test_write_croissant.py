import hashlib
import io
import json

import mlcroissant
import polars as pl
import pytest
from datasets_of_a_run import (
    REPORTED,
    ROWS,
    SCHEMAS,
    compared,
    settings,
    write_dataset,
    write_tables,
)
from PIL import Image

from imagenet_think.dataset import publication
from imagenet_think.dataset.dataset_fields import describe
from imagenet_think.report.comparability import TEACHERS
from write_croissant import write_croissant

HARD = '_a_ % & # {b} \\ ~ ^ | <script>1</script> $c$ "d" 🏹 قوس\n\t'
RECOMMENDED = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'


@pytest.fixture
def described(tmp_path):
    """A function that writes a dataset with its description; it returns the folder and the JSON."""

    def write(full=False, hard="", changes=(), **config):
        folder = tmp_path / ("dataset_full" if full else "dataset")
        files = write_dataset(folder, full=full, hard=hard, **dict(changes))
        images = write_tables(tmp_path / "tables")[1]
        write_croissant(
            files, images, REPORTED, folder / "croissant.json", settings(full=full, **config)
        )
        return folder, json.loads((folder / "croissant.json").read_text(encoding="utf-8"))

    return write


def opened(folder):
    return mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))


@pytest.mark.parametrize("full", [False, True])
def test_mlcroissant_finds_nothing_wrong(full, described):
    folder, _ = described(full=full)
    issues = opened(folder).metadata.ctx.issues
    assert not issues.errors
    assert [warning for warning in issues.warnings if RECOMMENDED not in warning] == []


def test_with_a_date_there_is_no_warning_at_all(described):
    dataset = settings()["dataset"] | {"published": "2026-01-31", "repository": "me/think"}
    folder, _ = described(dataset=dataset)
    metadata = opened(folder).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert metadata.date_published.isoformat() == "2026-01-31T00:00:00"
    assert metadata.url == "https://huggingface.co/datasets/me/think"
    assert metadata.creators[0].name == "me"
    assert metadata.version == "1.0.0"


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["default", "failed"])
def test_records_are_the_rows(name, full, described):
    folder, _ = described(full=full, hard=HARD)
    read = list(opened(folder).records(name))
    rows = pl.read_parquet(sorted((folder / {"default": "data"}.get(name, name)).glob("*.parquet")))
    assert len(read) == len(rows) == sum(n for (config, _), n in ROWS.items() if config == name)
    for record, row in zip(read, rows.iter_rows(named=True), strict=True):
        assert record.keys() == {f"{name}/{column}" for column in ("split", *row)}
        for column, value in row.items():
            found = record[f"{name}/{column}"]
            if column == "image":
                assert list(found.getdata()) == list(
                    Image.open(io.BytesIO(value["bytes"])).getdata()
                )
            else:
                assert (found.decode() if isinstance(found, bytes) else found) == value


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_is_read_by_itself(split, described):
    folder, _ = described()
    read = list(opened(folder).records("default", filters={"default/split": split}))
    assert len(read) == ROWS["default", split]
    assert {record["default/split"] for record in read} == {split.encode()}


def test_every_column_is_a_field_with_its_type_and_words(described):
    _, found = described(full=True)
    types = {pl.String: "sc:Text", pl.Int64: "sc:Integer", pl.Boolean: "sc:Boolean"}
    for records in found["recordSet"]:
        schema = SCHEMAS[True][records["@id"]]
        split, *fields = records["field"]
        assert split["name"] == "split"
        assert [field["name"] for field in fields] == list(schema)
        for field in fields:
            assert field["description"] == describe(field["name"])
            image = field["name"] == "image"
            assert field["dataType"] == (
                "sc:ImageObject" if image else types[schema[field["name"]]]
            )


def test_every_file_is_named_with_its_checksum(described):
    folder, found = described()
    files = {
        each["contentUrl"]: each
        for each in found["distribution"]
        if each["@type"] == "cr:FileObject"
    }
    assert files.keys() == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")
    }
    for name, file in files.items():
        data = (folder / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["contentSize"] == f"{len(data)} B"
    assert [each["includes"] for each in found["distribution"][len(files) :]] == [
        "data/*.parquet",
        "failed/*.parquet",
    ]


def test_a_copy_elsewhere_is_as_good(described, tmp_path):
    folder, _ = described()
    folder.rename(tmp_path / "elsewhere")
    assert len(list(opened(tmp_path / "elsewhere").records("default"))) == 8


def test_licences_are_of_texts_and_of_pictures(described):
    texts = publication.LICENSES["cc-by-nc-4.0"][1]
    assert described()[1]["license"] == [texts]
    assert described(full=True)[1]["license"] == [texts, publication.IMAGENET_TERMS]
    assert described(full=True, source="drawings")[1]["license"] == [texts]


def test_another_run_says_so(described):
    _, found = described(run="mini", compared=compared(source="drawings"))
    assert found["name"] == "ImageNet-Think (run mini)"
    assert found["description"].startswith("This is the run mini, not the paper's")
    assert described()[1]["description"].startswith("250,000 images of 10,450")


def test_hard_names_survive(described):
    other = compared(
        source="drawings",
        names=dict.fromkeys(TEACHERS, HARD),
        repositories=dict.fromkeys(TEACHERS, HARD),
    )
    folder, found = described(run=HARD, compared=other)
    metadata = opened(folder).metadata
    assert not metadata.ctx.issues.errors
    assert metadata.name == f"ImageNet-Think (run {HARD})"
    assert HARD in metadata.description
    assert HARD in metadata.machine_annotation_tools
    assert HARD in found["rai:machineAnnotationTools"]


def test_biases_and_limits_are_those_of_the_card(described):
    metadata = opened(described()[0]).metadata
    assert sorted(metadata.data_biases) == sorted(publication.BIASES.values())
    assert sorted(metadata.data_limitations) == sorted(publication.LIMITS.values())
