"""The image that a name in a parquet file refers to."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.images.image_matching import (
    ImageNames,
    class_in,
    listed_id,
    read_digests,
    read_names,
)

IDS = ["n00005787_11054", "n00005787_2", "n00006484_2", "n00006484_n00006484_3"]
IN_FOLDERS = ["cats/12", "12", "cats/2019/1.5"]


@pytest.mark.parametrize(
    ("ids", "name", "expected"),
    [
        (IDS, "n00005787/n00005787_2.JPEG", "n00005787_2"),
        (IDS, "/data/train/n00005787/n00005787_2.jpg", "n00005787_2"),
        (IDS, "./n00005787_2.png", "n00005787_2"),
        (IDS, "", None),
        (IDS, "n00005787", None),
        (IDS, "n00005787_3.JPEG", None),
        (IDS, "n00005787_2/other.JPEG", None),
        # A class may be repeated, and the repetition may belong to the image_id.
        (IDS, "x/n00005787_n00005787_2.JPEG", "n00005787_2"),
        (IDS, "n00005787_n00006484_2.JPEG", None),
        (IDS, "n00006484_n00006484_3.JPEG", "n00006484_n00006484_3"),
        (IN_FOLDERS, "/home/me/pictures/cats/12.jpg", "cats/12"),
        (IN_FOLDERS, "12.png", "12"),
        (IN_FOLDERS, "cats/2019/1.5", "cats/2019/1.5"),
        (IN_FOLDERS, "x/cats/2019/1.5.jpeg", "cats/2019/1.5"),
        # Not the image outside of the folders.
        (IN_FOLDERS, "dogs/12.jpg", None),
    ],
)
def test_ending_and_folders_do_not_count(ids, name, expected):
    assert ImageNames(ids).image(name) == expected


words = st.text("ab1_.- é", min_size=1).filter(lambda word: word.strip(".") == word)
paths = st.lists(words, min_size=1, max_size=3).map("/".join)


@given(st.sets(paths, min_size=1, max_size=5), paths)
def test_an_image_id_refers_to_itself(ids, other):
    names = ImageNames(ids)
    for name in ids:
        assert names.image(name) == name
        assert names.image(f"{name}.JPEG") == name
    assert names.image(other) in {None, *ids}


CLASSES = {"n00005787", "sea_lion", "cats"}


@pytest.mark.parametrize(
    ("name", "image", "wnid"),
    [
        ("n00005787_11054", "n00005787_11054", "n00005787"),
        ("train/n00005787/n00005787_11054.JPEG", "n00005787_11054", "n00005787"),
        ("n00005787/n00005787_n00005787_2.JPEG", "n00005787_2", "n00005787"),
        ("sea_lion_12.jpg", "sea_lion_12", "sea_lion"),
        ("pictures/cats/2019/12.jpg", "cats/2019/12", "cats"),
        ("cats/12.jpg", "cats/12", "cats"),
        ("other/12.jpg", "12", None),
        ("n99999999_1.JPEG", "n99999999_1", None),
        ("cats", "cats", None),
    ],
)
def test_listed_images_and_their_classes(name, image, wnid):
    assert listed_id(name, CLASSES) == image
    assert class_in(image, CLASSES) == wnid


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def written(path, values, kind):
    pq.write_table(pa.table({"image": pa.array(values, kind)}), path, row_group_size=2)
    return str(path)


class Weighed(set):
    """A set that counts the characters that are looked up in it."""

    looked_up = 0

    def __contains__(self, name):
        self.looked_up += len(name)
        return super().__contains__(name)


@pytest.mark.parametrize("unit", ["a/", "/", "./", ".jpg", "n00005787_", "_", "a_/", "../"])
def test_a_hostile_name_takes_linear_time(unit):
    name = unit * 40_000 + "b.jpg"
    names, classes = ImageNames(IN_FOLDERS), Weighed(["cats"])
    names._images = Weighed(names._images)
    assert names.image(name) is None
    assert listed_id(name, classes)
    assert class_in(name, classes) is None
    assert names._images.looked_up < 10 * len(name)
    assert classes.looked_up < 10 * len(name)


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
)
def test_names_as_text(kind, tmp_path):
    files = [
        written(tmp_path / "a.parquet", ["x", None, "z"], kind),
        written(tmp_path / "b.parquet", [{"bytes": b"1", "path": "p"}, None], STRUCT),
    ]
    assert read_names(files, "image") == ["x", None, "z", "p", None]


def test_digests_of_some_rows(tmp_path):
    only_bytes = pa.struct([("bytes", pa.binary())])
    values = [{"bytes": bytes([n])} if n != 3 else None for n in range(7)]
    files = [
        written(tmp_path / "a.parquet", ["x", "y", "z"], pa.string()),
        written(tmp_path / "b.parquet", values, only_bytes),
    ]
    assert read_names(files, "image") == ["x", "y", "z"] + [None] * 7
    found = read_digests(files, "image", [1, 3, 6, 9])
    assert found == {3: digest(0), 9: digest(6)}


def digest(number):
    return hashlib.sha256(bytes([number])).hexdigest()


NO_UTF8 = pa.array([b"\xff\xfe"]).view(pa.string())
NO_IMAGE = r": column 'image' holds struct.*, not text, or the"


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        (["image"], [[1]], ": column 'image' holds int64, not text, or the"),
        (["id", "text"], [["x"], ["y"]], " has no column 'image'; there are id, text"),
        (["image", "image"], [["x"], ["y"]], " has several columns 'image': rename all but one"),
        # Text that is no UTF-8, as careless writers make it.
        (["image"], [NO_UTF8], ": column 'image' holds text that is not UTF-8 .* write the"),
        (["image"], [[{"path": 1}]], NO_IMAGE),
        (["image"], [[{"path": ["x"]}]], NO_IMAGE),
        (["image"], [[{"path": "x", "bytes": "x"}]], NO_IMAGE),
        (["image"], [[{"bytes": [1]}]], NO_IMAGE),
        (["image"], [[{"other": "x"}]], NO_IMAGE),
    ],
)
def test_columns_that_hold_no_names_or_images_are_refused(names, columns, message, tmp_path):
    pq.write_table(pa.table(columns, names=names), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"a\.parquet{message}") as error:
        read_names([str(tmp_path / "a.parquet")], "image")
    assert not isinstance(error.value, UnicodeError)


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.null()])
@pytest.mark.parametrize("data", [pa.binary(), pa.large_binary(), pa.null()])
def test_images_of_all_kinds_of_text_and_bytes(text, data, tmp_path):
    path = None if pa.types.is_null(text) else "x"
    found = {} if pa.types.is_null(data) else {0: digest(1)}
    kind = pa.struct([("path", text), ("bytes", data)])
    value = {"path": path, "bytes": b"\1" if found else None}
    file = written(tmp_path / "a.parquet", [value], kind)
    assert read_names([file], "image") == [path]
    assert read_digests([file], "image", [0]) == found


@pytest.mark.parametrize("place", [None, 10])
def test_a_damaged_file_is_refused_by_name(place, tmp_path):
    path = tmp_path / "a.parquet"
    if place is None:
        path.write_text("no parquet file")
    else:
        pq.write_table(pa.table({"image": [f"{n}" for n in range(999)]}), path)
        content = bytearray(path.read_bytes())
        content[place : place + 50] = bytes(50)
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.parquet: column 'image' cannot be read.* again"):
        read_names([str(path)], "image")
    path.unlink()  # a missing file is no damaged one
    with pytest.raises(FileNotFoundError):
        read_names([str(path)], "image")
