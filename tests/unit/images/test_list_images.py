"""The sample of a run whose images are listed by parquet files, with and without pictures."""

import hashlib
import io
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded
from PIL import Image
from users_files import SUFFIXES, write_table

from gather_shard import gather_shard
from imagenet_think.core import schemas
from imagenet_think.core.shards import names as shard_names
from imagenet_think.core.shards import shard_of
from list_images import list_images
from prepare_images import prepare_images

ONE_CLASS = Path(__file__).parents[3] / "resources" / "one_class.tsv"
SHARDING = {"blocks": 2, "shards_per_block": 2}
THRESHOLDS = {"max_pixels": 400}
PREPARATION = {"longest_side": 16, "jpeg_quality": 90}
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
        self.classes = folder / "classes.tsv"
        self.classes.write_text("\n".join(TABLE) + "\n")

    def add(self, suffix=".parquet", **columns):
        self.files.append(write_table(self.folder / f"{len(self.files)}{suffix}", columns))

    def __call__(self, image="image", label=None, labels=None, count_classes=True):
        own = dict(image=image, label=label, count_classes=count_classes)
        return self.write(self.files, labels, **own)

    def with_pictures(self, label=None):
        """List what `prepare_images` makes of the files; then gather the shards of the sample."""
        own = dict(image="image", label=label, thresholds=THRESHOLDS, preparation=PREPARATION)
        made = [f"{path}.prepared" for path in self.files]
        for path, candidates in zip(self.files, made, strict=True):
            prepare_images(self.classes, path, None, candidates, **own, threads=2)
        found = self.write(made, None, image="image", prepared=True)
        for shard in shard_names(**SHARDING):
            gather_shard(self.folder / "sample.out", made, shard, self.folder / f"{shard}.shard")
        return [*found, pl.read_parquet(self.folder / "*.shard")]

    def write(self, files, labels, **settings):
        names = ("sample", "classes", "exclusions", "page")
        *places, page = (self.folder / f"{name}.out" for name in names)
        list_images(self.classes, files, labels, *places, page, sharding=SHARDING, **settings)
        self.page = page.read_text()
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
    assert set(sample.select(*unknown, "complexity_stratum").null_count().row(0)) == {3}
    assert classes["wnid"].to_list() == ["n00000002", "n00000001", "cats"]
    assert classes["available"].to_list() == [1, 1, 1]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        ("wnid", ["cats", "n00000001", None]),
        ("kind", ["cats", "n00000001", " "]),
        # Integers index the sorted class table, if the config says so, or a file.
        ("label", [0, 1, None]),
        ("label", [1, 0, None]),
    ],
)
def test_a_column_may_hold_the_class(listing, column, labels):
    file = listing.folder / "labels.txt"
    file.write_text("n00000001 a name\ncats\n\n")
    listing.add(name=["a/1.png", "2", "cats/3"], **{column: labels})
    key = None if column == "wnid" else column
    sample, _, _ = listing(image="name", label=key, labels=file if labels[0] == 1 else None)
    rows = sample.select("image_id", "wnid").sort("image_id").rows()
    assert rows == [("1", "cats"), ("2", "n00000001"), ("cats/3", "cats")]


@pytest.mark.parametrize(
    ("columns", "label", "message"),
    [
        ({"label": [2]}, "label", "cats/n00000001_1.JPEG says class n00000001, but its label 2"),
        *(
            ({name: [value]}, label, f": column '{name}' holds .*, not text or integers: convert")
            for name, label in (("label", "label"), ("wnid", None))
            for value in (1.5, True, [1])
        ),
        ({"other": ["cats"]}, "label", " has no column 'label'"),
        ({"label": ["cats"]}, "wnid", " has no column 'wnid'"),
    ],
)
def test_a_label_that_is_missing_contradicts_or_is_no_label_is_refused(
    listing, columns, label, message
):
    listing.add(image=["cats/n00000001_1.JPEG"], **columns)
    with pytest.raises(ValueError, match=message):
        listing(label=label)


@pytest.mark.parametrize("pictures", [False, True])
def test_integers_of_unknown_meaning_are_refused_unless_the_name_says_the_class(listing, pictures):
    names = ["cats/1.jpg", "2.jpg"]
    rows = [{"bytes": drawn(k), "path": name} for k, name in enumerate(names)]
    listing.add(image=rows if pictures else names, label=[2, 1])

    def listed():
        if pictures:
            return listing.with_pictures("label")
        return listing(label="label", count_classes=False)

    with pytest.raises(ValueError, match=r"0\.parquet: 2\.jpg: the label 1 is .*count_classes"):
        listed()
    pl.read_parquet(listing.files[0]).head(1).write_parquet(listing.files[0])
    assert listed()[0]["wnid"].to_list() == ["cats"]


@pytest.mark.parametrize(
    ("names", "expected"), [(["n00000001", "n00000002"], "n00000002"), (["ball", "seal"], None)]
)
def test_the_files_own_names_of_its_labels_count_if_they_are_classes(listing, names, expected):
    listing.add(image=["1"])
    about = {"info": {"features": {"label": {"names": names}}}}
    table = pa.table({"image": ["1"], "label": [1]}, metadata={"huggingface": json.dumps(about)})
    pq.write_table(table, listing.files[0])
    if expected:
        assert listing(label="label")[0]["wnid"].to_list() == [expected]
        return
    with pytest.raises(ValueError, match=r"0\.parquet: .* name 2 labels \(ball, seal\), but"):
        listing(label="label")
    with pytest.raises(ValueError, match=r"mean \(ball, seal, by the file's metadata\)"):
        listing(label="label", count_classes=False)


NAMES = st.one_of(
    st.none(),
    st.sampled_from(["cats/1.jpg", "cats/2", "n00000001_1.JPEG", "dogs/1", "../cats/1", "x", ""]),
    st.text(max_size=3),
)
CLASSES = st.sampled_from([None, "cats", "n00000002", "dogs", "", "0", "2", "77"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, CLASSES), max_size=12))
def test_no_row_of_a_listing_is_lost(tmp_path_factory, rows):
    """Rows in are rows out, or rows with a reason."""
    listing = Listing(tmp_path_factory.mktemp("listing"))
    rows = [("cats/0", None), *rows]
    names, classes = map(list, zip(*rows, strict=True))
    listing.add(image=names, wnid=pl.Series(classes, dtype=pl.String))
    try:
        sample, _, exclusions = listing()
    except ValueError as error:
        if "different list of classes" not in str(error):
            raise
        return
    assert len(sample) + len(exclusions) == len(rows)
    assert exclusions["reason"].null_count() == exclusions["detail"].null_count() == 0
    listed = [*sample["member"], *exclusions["member"]]
    assert Counter(listed) == Counter(name if name and name.strip() else None for name in names)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.dictionary(pa.int8(), pa.int64())])
def test_integers_of_any_kind_are_labels(listing, kind):
    labels = pa.array([1, None], pa.int64())
    labels = labels.dictionary_encode() if pa.types.is_dictionary(kind) else labels.cast(kind)
    listing.add(image=["one"])
    pq.write_table(pa.table({"image": ["one", "cats/2"], "label": labels}), listing.files[0])
    sample, _, _ = listing(label="label")
    assert sample.select("image_id", "wnid").rows() == [("cats/2", "cats"), ("one", "n00000001")]


@pytest.mark.parametrize("labels", [[3, -1, 2], ["3", "17", "2"]])
def test_a_label_that_counts_no_class_rejects_its_row(listing, labels):
    listing.add(image=["n00000001_1", "n00000001_2", "n00000002_3"], label=labels)
    sample, _, exclusions = listing(label="label")
    assert sample["image_id"].to_list() == ["n00000002_3"]
    rejected = exclusions.select("member", "reason").rows()
    assert rejected == [("n00000001_1", "no_class"), ("n00000001_2", "no_class")]
    assert exclusions["detail"][0] == "n00000001_1: label 3 is none of 3 classes"


def test_images_without_a_name_are_identified_by_their_digest(listing):
    listing.add(image=[{"bytes": b"1", "path": None}], wnid=["cats"])
    digest = sha256(b"1")
    columns = listing()[0].select("image_id", "source_sha256", "member")
    assert columns.rows() == [(digest, digest, None)]


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
    assert "rows rejected, no_class (1): dogs/1: no class" in caplog.text
    assert "1 image of 1 class as listed by 1 file: 1 identified by their names, 0" in listing.page
    assert "0 have pictures" in listing.page
    assert "| no\\_class | its class is not known | 1 |" in listing.page


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("label", [None, "kind"])
def test_every_format_lists_the_same(listing, suffix, label):
    names = ["x/n00000002_7.JPEG", "cats/12.jpg", " ", "3.png", "n00000002_7", "dogs/1", "cats/4"]
    labels = [None, "", "cats", "cats", None, "\t", "dogs"]

    def listed(own):
        listing.files.clear()
        listing.add(own, image=names, **{label or "wnid": labels})
        sample, classes, exclusions = listing(label=label)
        return sample.drop("source"), classes, exclusions.drop("source"), listing.page

    for own, parquet in zip(listed(suffix), listed(".parquet"), strict=True):
        assert own.equals(parquet) if isinstance(own, pl.DataFrame) else own == parquet
    sample, _, exclusions, _ = listed(suffix)
    assert sample["image_id"].to_list() == ["3", "cats/12", "n00000002_7"]
    assert exclusions.select("member", "reason").rows() == [
        (None, "not_an_image"),
        ("n00000002_7", "clashing_id"),
        ("dogs/1", "no_class"),
        ("cats/4", "no_class"),
    ]


listed_names = st.lists(
    st.none() | st.sampled_from(["cats/1", "cats/2.jpg", " ", "dogs/1", "../cats/1", "n00000001_"]),
    max_size=12,
)


@settings(max_examples=40)
@given(listed_names, st.sampled_from(SUFFIXES))
def test_every_row_of_a_listing_is_in_the_sample_or_excluded(tmp_path_factory, names, suffix):
    listing = Listing(tmp_path_factory.mktemp("any"))
    listing.add(suffix, image=["cats/0", *names])
    sample, _, exclusions = listing()
    assert len(sample) + len(exclusions) == 1 + len(names)
    assert exclusions["reason"].null_count() == 0


def test_a_listing_without_a_known_class_is_refused_with_examples(listing):
    listing.add(image=["n00000009_1.JPEG", "dogs/1.JPEG"])
    with pytest.raises(ValueError, match=r"names no image of a class of the table \(cats, n") as e:
        listing()
    assert "n00000009_1.JPEG: no class; dogs/1.JPEG: no class" in str(e.value)
    assert "images.source.label" in str(e.value)
    assert "write `classes: resources/one_class.tsv` under images" in str(e.value)


# With pictures ------------------------------------------------------------------------------------


def drawn(number, size=(16, 12), kind="JPEG"):
    """Return an image file, different for each number."""
    return encoded(Image.new("RGB", size, (10 * number, 100, 200)), kind)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_pictures_are_prepared_and_gathered(listing):
    small, large, nameless = drawn(1), drawn(2, (20, 10)), drawn(3, kind="PNG")
    names = {"n00000001_n00000001_7.JPEG": small, "x/cats/2.jpg": large}
    listing.add(image=[{"bytes": data, "path": name} for name, data in names.items()])
    listing.add(image=[{"bytes": nameless, "path": None}], wnid=["cats"])
    sample, classes, exclusions, images = listing.with_pictures()
    assert len(exclusions) == 0
    assert classes["available"].to_list() == [0, 1, 2]
    rows = {row["image_id"]: row for row in sample.iter_rows(named=True)}
    assert rows.keys() == {"n00000001_7", "cats/2", sha256(nameless)}
    row = rows["n00000001_7"]
    assert (row["width"], row["height"], row["source_bytes"]) == (16, 12, len(small))
    assert row["sha256"] == row["source_sha256"] == sha256(small)  # it conforms already
    assert (rows["cats/2"]["width"], rows["cats/2"]["height"]) == (16, 8)
    assert rows["cats/2"]["source_sha256"] == sha256(large) != rows["cats/2"]["sha256"]
    assert images.schema == schemas.IMAGES
    assert images.drop("image").sort("image_id").equals(sample.select(images.drop("image").columns))
    for name, picture in images.select("image_id", "image").iter_rows():
        assert sha256(picture["bytes"]) == rows[name]["sha256"]
        assert Image.open(io.BytesIO(picture["bytes"])).format == "JPEG"
    assert "2 identified by their names, 1 without a name" in listing.page
    assert "3 have pictures" in listing.page
    assert "No row was rejected" in listing.page


def test_what_cannot_be_decoded_is_excluded_and_the_rest_is_kept(listing):
    good, twin = drawn(1), drawn(2)
    rows = {
        "cats/broken": good[:-40],
        "cats/text": b"no image at all",
        "cats/none": None,
        "cats/huge": drawn(3, (21, 20)),
        "dogs/1": drawn(4),
    }
    pictures = [{"bytes": data, "path": name} for name, data in rows.items()]
    pictures += [{"bytes": None, "path": None}, {"bytes": good, "path": "cats/broken"}]
    # Twice in a file and in another one, without names: the first counts.
    pictures += [{"bytes": twin, "path": None}] * 2
    listing.add(image=pictures, wnid=[None] * 7 + ["cats"] * 2)
    listing.add(image=[{"bytes": twin, "path": None}], wnid=["cats"])
    sample, _, exclusions, images = listing.with_pictures()
    assert sample["image_id"].to_list() == sorted(["cats/broken", sha256(twin)])
    assert sorted(images["image_id"]) == sample["image_id"].to_list()
    assert exclusions.select("member", "reason").rows() == [
        ("cats/broken", "undecodable"),
        ("cats/text", "not_an_image"),
        ("cats/none", "not_an_image"),
        ("cats/huge", "too_many_pixels"),
        ("dogs/1", "no_class"),
        (None, "not_an_image"),
        (None, "clashing_id"),
        (None, "clashing_id"),
    ]


def test_images_without_a_class_belong_to_the_only_one_and_others_are_rejected(listing):
    listing.classes = ONE_CLASS
    names = {"a.jpg": None, None: None, "b.jpg": "cats"}
    pictures = [{"bytes": drawn(k), "path": name} for k, name in enumerate(names)]
    listing.add(image=pictures, wnid=names.values())
    sample, classes, exclusions, _ = listing.with_pictures()
    assert exclusions.select("member", "reason").rows() == [("b.jpg", "no_class")]
    assert sample["wnid"].to_list() == ["unknown"] * 2
    assert sample["domain"].null_count() == sample["lemma"].null_count() == 0
    assert classes.rows() == [("unknown", 0, "?", "unknown", None, 2)]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            "cats/1",
            r"'image' holds (large_)?string.*, not the hub's images with their bytes: .*pictures",
        ),
        ({"bytes": None, "path": "cats/1"}, r"0\.parquet: column 'image' names no.*no bytes"),
    ],
)
def test_names_are_no_pictures(listing, image, message):
    listing.add(image=[image])
    with pytest.raises(ValueError, match=message):
        listing.with_pictures()
