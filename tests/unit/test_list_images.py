"""The sample of a run without pictures."""

import hashlib

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagenet_think import schemas
from imagenet_think.shards import shard_of
from list_images import list_images

SHARDING = {"blocks": 2, "shards_per_block": 2}
TABLE = [
    "wnid\tlemmas\tdomain\thypernym",
    "n00000002\tsea lion, seal\tanimal\tn1",
    "n00000001\tball\tartifact\tn2",
    "cats\tcat\tanimal\tn3",
]


class Listing:
    """A folder with parquet files that name images."""

    def __init__(self, folder):
        self.folder, self.files = folder, []
        (folder / "classes.tsv").write_text("\n".join(TABLE) + "\n")

    def add(self, **columns):
        self.files.append(str(self.folder / f"{len(self.files)}.parquet"))
        pl.DataFrame(columns).write_parquet(self.files[-1])

    def __call__(self, image="image", label=None, labels=None):
        places = [self.folder / f"{name}.out" for name in ("sample", "classes", "exclusions")]
        list_images(
            self.folder / "classes.tsv",
            self.files,
            labels,
            *places,
            image=image,
            label=label,
            sharding=SHARDING,
        )
        return [pl.read_parquet(place) for place in places]


@pytest.fixture
def listing(tmp_path):
    return Listing(tmp_path)


def test_the_class_is_in_the_name(listing):
    listing.add(image=["x/n00000002_7.JPEG", "n00000001_1"], question=["?", "?"])
    listing.add(image=["/home/me/cats/12.jpg"])
    sample, classes, exclusions = listing()
    assert (sample.schema, classes.schema) == (schemas.SAMPLE, schemas.CLASSES)
    assert exclusions.schema == schemas.EXCLUSIONS
    assert len(exclusions) == 0
    assert sample.select("image_id", "wnid", "class_index", "lemma", "domain", "member").rows() == [
        ("cats/12", "cats", 2, "cat", "animal", "/home/me/cats/12.jpg"),
        ("n00000001_1", "n00000001", 1, "ball", "artifact", "n00000001_1"),
        ("n00000002_7", "n00000002", 0, "sea lion", "animal", "x/n00000002_7.JPEG"),
    ]
    assert sample["source"].to_list() == [listing.files[1], listing.files[0], listing.files[0]]
    assert sample["shard"].to_list() == [shard_of(i, **SHARDING) for i in sample["image_id"]]
    unknown = ["width", "height", "source_bytes", "source_sha256", "sha256", "complexity"]
    for column in (*unknown, "complexity_stratum"):
        assert sample[column].null_count() == 3
    assert classes["wnid"].to_list() == ["n00000002", "n00000001", "cats"]
    assert classes["available"].to_list() == [1, 1, 1]


@pytest.mark.parametrize(
    ("column", "key", "values"),
    [
        ("wnid", None, ["cats", "n00000001"]),
        ("kind", "kind", ["cats", "n00000001"]),
        ("label", "label", [0, 1]),  # of the sorted class table
    ],
)
def test_a_column_may_say_the_class(listing, column, key, values):
    listing.add(name=["a/one.png", "two"], **{column: values})
    sample, _, _ = listing(image="name", label=key)
    assert sample.select("image_id", "wnid").rows() == [("one", "cats"), ("two", "n00000001")]


def test_a_file_may_say_what_integers_count(listing):
    (listing.folder / "labels.txt").write_text("n00000001\ncats\n")
    listing.add(image=["one"], label=[1])
    sample, _, _ = listing(label="label", labels=listing.folder / "labels.txt")
    assert sample["wnid"].to_list() == ["cats"]


def test_a_label_that_contradicts_the_name_is_refused(listing):
    listing.add(image=["n00000001_1.JPEG"], label=[2])
    with pytest.raises(ValueError, match=r"n00000001_1.JPEG says class n00000001, but its label 2"):
        listing(label="label")


@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.bool_(), pa.list_(pa.int64()), pa.struct([("a", pa.int64())])]
)
@pytest.mark.parametrize("column", ["label", "wnid"])
def test_a_label_that_is_neither_text_nor_integer_is_refused(listing, kind, column):
    columns = {"image": pa.array(["cats/1"]), column: pa.array([None], kind)}
    listing.add(image=["cats/1"])
    pq.write_table(pa.table(columns), listing.files[0])
    with pytest.raises(
        ValueError, match=rf"0.parquet: column '{column}' holds .*, not text or integers: convert"
    ):
        listing(label="label" if column == "label" else None)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.dictionary(pa.int8(), pa.int64())])
def test_integers_of_any_kind_are_labels(listing, kind):
    table = pa.table({"image": ["one", "cats/2"], "label": pa.array([1, None], pa.int64())})
    column = table["label"]
    is_dictionary = pa.types.is_dictionary(kind)
    column = column.dictionary_encode() if is_dictionary else column.cast(kind)
    listing.add(image=["one"])
    pq.write_table(table.set_column(1, "label", column), listing.files[0])
    sample, _, _ = listing(label="label")
    assert sample.select("image_id", "wnid").rows() == [("cats/2", "cats"), ("one", "n00000001")]


@pytest.mark.parametrize("labels", [[3, -1, 2], ["3", "17", "2"]])
def test_a_label_that_counts_no_class_turns_its_row_away(listing, labels):
    listing.add(image=["n00000001_1", "n00000001_2", "n00000002_3"], label=labels)
    sample, _, exclusions = listing(label="label")
    assert sample["image_id"].to_list() == ["n00000002_3"]
    assert exclusions.select("member", "reason").rows() == [
        ("n00000001_1", "no_class"),
        ("n00000001_2", "no_class"),
    ]
    assert exclusions["detail"][0] == "n00000001_1: label 3 is none of 3 classes"


def test_a_row_without_a_label_is_named_by_its_class(listing):
    listing.add(image=["cats/1", "n00000001_2"], label=[None, " "])
    sample, _, _ = listing(label="label")
    assert sample["wnid"].to_list() == ["cats", "n00000001"]


def test_a_name_of_two_label_columns_is_refused(listing):
    listing.add(image=["cats/1"])
    names = ["image", "wnid", "wnid"]
    table = pa.Table.from_arrays([pa.array([name]) for name in ("cats/1", "a", "b")], names=names)
    pq.write_table(table, listing.files[0])
    with pytest.raises(ValueError, match=r"0.parquet has several columns 'wnid': rename all but"):
        listing()


def test_images_by_their_bytes_are_called_by_their_digest(listing):
    listing.add(image=[{"bytes": b"1", "path": None}], wnid=["cats"])
    sample, _, _ = listing()
    digest = hashlib.sha256(b"1").hexdigest()
    assert sample.select("image_id", "source_sha256", "member").rows() == [(digest, digest, None)]


def test_what_is_no_image_of_the_sample_is_listed_with_its_reason(listing, caplog):
    listing.add(image=["cats/1", "dogs/1", "cats/1.JPEG", None, "cats/../.."])
    sample, classes, exclusions = listing()
    assert sample["image_id"].to_list() == ["cats/1"]
    assert exclusions.select("member", "reason").rows() == [
        ("dogs/1", "no_class"),
        ("cats/1.JPEG", "clashing_id"),
        (None, "not_an_image"),
        ("cats/../..", "unsafe_name"),
    ]
    assert classes["available"].sum() == 1
    assert "rows turned away, no_class (1): dogs/1: no class" in caplog.text


def test_a_class_listed_twice_is_refused(listing):
    listing.add(image=["cats/1"])
    with (listing.folder / "classes.tsv").open("a") as table:
        table.write("cats\tcat\tanimal\tn0\n")
    with pytest.raises(ValueError, match=r"classes\.tsv: classes listed more than once: cats"):
        listing()


def test_a_listing_without_a_known_class_is_refused_with_examples(listing):
    listing.add(image=["n00000009_1.JPEG", "dogs/1.JPEG"])
    with pytest.raises(
        ValueError, match=r"names no image of a class of the table \(cats, n0000"
    ) as e:
        listing()
    assert "n00000009_1.JPEG: no class; dogs/1.JPEG: no class" in str(e.value)
    assert "images.source.label" in str(e.value)


@pytest.mark.parametrize("keys", [{"image": "picture"}, {"label": "kind"}])
def test_a_missing_column_is_named(listing, keys):
    listing.add(image=["cats/1"])
    with pytest.raises(
        ValueError, match=rf"has no column '{next(iter(keys.values()))}'; there are"
    ):
        listing(**keys)
