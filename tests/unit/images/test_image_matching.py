"""The image that a name refers to, and the digests of images in files."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from users_files import SUFFIXES, write_table

from imagenet_think.images.image_matching import (
    ImageNames,
    class_in,
    listed_id,
    read_digests,
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


@pytest.mark.parametrize("data", [pa.binary(), pa.large_binary()])
def test_digests_of_some_rows(data, tmp_path):
    only_bytes = pa.struct([("bytes", data)])
    values = [{"bytes": bytes([n])} if n != 3 else None for n in range(7)]
    path = written(tmp_path / "b.parquet", values, only_bytes)
    assert read_digests(path, "image", [1, 3, 6]) == {1: digest(1), 6: digest(6)}
    assert read_digests(path, "image", []) == {}


def test_without_bytes_there_is_no_digest(tmp_path):
    paths = [
        written(tmp_path / "text.parquet", ["x"], pa.string()),
        written(tmp_path / "path.parquet", [{"path": "x"}], pa.struct([("path", pa.string())])),
        written(
            tmp_path / "null.parquet",
            [{"path": "x", "bytes": None}],
            pa.struct([("path", pa.string()), ("bytes", pa.null())]),
        ),
        *(write_table(tmp_path / f"x{suffix}", {"image": ["x"]}) for suffix in SUFFIXES),
    ]
    for path in paths:
        assert read_digests(path, "image", [0]) == {}


def digest(number):
    return hashlib.sha256(bytes([number])).hexdigest()


@pytest.mark.parametrize("place", [None, 10])
def test_a_damaged_file_is_refused_by_name(place, tmp_path):
    path = tmp_path / "a.parquet"
    if place is None:
        path.write_text("no parquet file")
    else:
        values = [{"bytes": bytes([n % 256])} for n in range(999)]
        pq.write_table(pa.table({"image": values}), path)
        content = bytearray(path.read_bytes())
        content[place : place + 50] = bytes(50)
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.parquet: column 'image' cannot be read.* again"):
        read_digests(str(path), "image", range(999))
    path.unlink()  # a missing file is no damaged one
    with pytest.raises(FileNotFoundError):
        read_digests(str(path), "image", range(999))
