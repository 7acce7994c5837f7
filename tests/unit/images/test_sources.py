import errno
import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_stages import SEED, catalogued, collected, sampled
from pictures import CRITERIA, PREPARATION, encoded, photo, write_tar
from source_forms import FORMS, class_folders, hub_parquet, read_tar, sparse_claim, write_classes

import catalogue_images
from catalogue_images import split_unpacked
from collect_candidates import collect_candidates
from draw_images import draw_images
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import image_ids, labels, sources
from imagenet_think.images.labels import Classes
from imagenet_think.images.rejections import RejectionError, recorded
from imagenet_think.images.sources import class_folders as class_folders_module
from unpack_outer_archive import unpack_outer_archive

WNIDS = ["n02782093", "n03544143", "n02948072"]  # not sorted, as in the class list
ONE_OF = {
    "class_tars": f"{WNIDS[1]}.tar",
    "class_folders": f"{WNIDS[1]}/a.jpg",
    "webdataset": "deep/train-0.tar",
    "hub_parquet": "deep/train-0.parquet",
    "folder": "any/thing.jpg",
}
"""A file of each kind of source whose places the user provides."""


def sample(folder, source, wnids=WNIDS, **changes):
    """Run the image stages over a source; return sample and exclusions."""
    collected(folder, source, wnids, wanted=9)
    return sampled(folder, class_count=len(wnids), **changes)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve drawings per class, and those that must be rejected."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_images(folder, WNIDS, 12, SEED)
    return {wnid: read_tar(folder / f"{wnid}.tar") for wnid in WNIDS}


@pytest.fixture(scope="module")
def reference(drawn, tmp_path_factory):
    """Sample and exclusions from class tars."""
    folder = tmp_path_factory.mktemp("reference")
    return sample(folder / "run", FORMS["class_tars"](folder / "source", drawn))


# One sample from every form -----------------------------------------------------------------------


@pytest.mark.parametrize("form", [*sorted(FORMS.keys() - {"class_tars"}), "folder"])
def test_every_form_gives_the_same_sample(form, drawn, reference, tmp_path):
    source = FORMS.get(form, class_folders)(tmp_path / "source", drawn) | {"kind": form}
    named, start = ["source", "member"], pl.lit("")
    if form == "folder":  # whose image_ids are paths
        named, start = [*named, "image_id", "shard"], pl.col("wnid") + "/"
    chosen, excluded = sample(tmp_path / "run", source)
    expected, expected_exclusions = reference
    assert len(chosen) == 18
    assert chosen.drop(named).equals(expected.drop(named))
    assert chosen["image_id"].equals(expected.select(start + pl.col("image_id")).to_series())
    image_id = sources.get_sampled(form).image_id

    def without_place(frame, name):
        rows = frame.select("wnid", "member", "reason", "detail").rows()
        return sorted(
            (wnid, name(member).split("/")[-1], reason, re.sub(r"n\d{8}/", "", detail))
            for wnid, member, reason, detail in rows
        )

    assert len(excluded) > 5
    assert without_place(excluded, image_id) == without_place(expected_exclusions, image_ids.stem)


def test_the_users_classes_need_no_wordnet_id(tmp_path):
    wnids = ["cats", "dogs"]
    for number, name in enumerate(wnids):
        (tmp_path / "my pets" / name / "2019").mkdir(parents=True)
        for k in range(6):
            data = encoded(photo(10 * number + k), "PNG")
            (tmp_path / "my pets" / name / "2019" / f"{k}.PNG").write_bytes(data)
    source = {"kind": "folder", "path": str(tmp_path / "my pets")}
    chosen, _ = sample(tmp_path / "run", source, wnids, total=12, max_per_class=6)
    assert sorted(chosen["image_id"])[0] == "cats/2019/0"
    assert chosen["image_id"].n_unique() == 12


# Places -----------------------------------------------------------------------------------------


def problems(kind, path):
    return list(sources.get(kind).problems({"path": str(path)}, WNIDS))


def test_every_kind_of_the_users_files_is_here():
    found = {kind: sources.get(kind) for kind in sources.kinds()}
    provided = {kind for kind, one in found.items() if one.sampled and one.made_by == "user"}
    assert provided == ONE_OF.keys()
    with pytest.raises(ValueError, match=r"'zip' is not in images\.sources, which has class"):
        sources.get("zip")


@pytest.mark.parametrize("kind", ONE_OF)
def test_missing_places_are_named(tmp_path, kind):
    folder = tmp_path / "images"
    (problem,) = problems(kind, folder)
    assert f"{folder}/ does not exist. Put one " in problem
    folder.mkdir()
    if kind != "folder":  # which may hold anything
        (folder / "other.txt").touch()
        (problem,) = problems(kind, folder)
        assert f"{folder}/ holds no " in problem
        assert (", but other.txt. Put one" in problem) == (kind in ("class_tars", "class_folders"))
    file = folder / ONE_OF[kind]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert not problems(kind, folder)
    (place,) = sources.get_sampled(kind).places(folder, WNIDS)
    assert ONE_OF[kind].startswith("" if place == "." else place)


@pytest.mark.parametrize("path", ["n" * 300, "a/b\0c"])
def test_a_path_that_cannot_exist_is_reported(path):
    (problem,) = problems("class_tars", path)
    assert "does not exist" in problem


def test_a_path_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "images.zip").touch()
    (problem,) = problems("folder", tmp_path / "images.zip")
    assert "images.zip/ is a file, not a folder. Put one" in problem


def test_places_by_class_are_in_the_order_of_the_classes(tmp_path):
    expected = [f"{wnid}.tar" for wnid in WNIDS]
    for name in expected:
        (tmp_path / name).touch()
    assert sources.get_sampled("class_tars").places(tmp_path, WNIDS) == expected


# Parts ------------------------------------------------------------------------------------------


def listed(kind, place, known=(), numbered=None):
    return list(sources.get_sampled(kind).list_place(place, Classes(frozenset(known), numbered)))


def opened(kind, place):
    return sources.get_sampled(kind).opened(place)


def test_files_of_a_folder_are_listed_in_order_and_links_followed(tmp_path):
    outside, place = tmp_path / "outside", tmp_path / "n1"
    outside.mkdir()
    (outside / "seal.jpg").write_bytes(b"seal.jpg")
    (place / "inner").mkdir(parents=True)
    for name in ("b.JPEG", "a.jpg", "inner/c.JPG"):
        (place / name).write_bytes(name.encode())
    (place / "out").symlink_to(outside)
    (place / "way.jpg").symlink_to(outside / "seal.jpg")
    os.mkfifo(place / "pipe")
    (place / os.fsdecode(b"\xe9.jpg")).write_bytes(b"x")
    rows = listed("class_folders", place)
    good = [(row.member, row.size) for row in rows if not row.reason]
    assert good == [
        *(("a.jpg", 5), ("b.JPEG", 6), ("inner/c.JPG", 11), ("out/seal.jpg", 8), ("way.jpg", 8))
    ]
    reasons = {row.member: row.reason for row in rows if row.reason}
    assert reasons == {"pipe": "not_an_image", "\\xe9.jpg": "unsafe_name"}
    with opened("class_folders", place) as read:
        assert read("inner/c.JPG", 0, 11) == b"inner/c.JPG"
        assert read("out/seal.jpg", 0, 8) == b"seal.jpg"
    below = [place, place / "inner", place / "out"]
    assert class_folders_module.folders(place) == list(map(str, below))


LINKS = {
    "to nothing": "nowhere",
    "to itself": "link",
    "to its folder": ".",
    "to a folder above": "..",
    "to the root": "/",
}


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS)
def test_a_link_that_is_not_followed_is_named(tmp_path, target):
    place = tmp_path / "pets" / "cats"
    place.mkdir(parents=True)
    (place / "a.jpg").write_bytes(b"x")
    (place / "link").symlink_to(target)
    good, link = listed("class_folders", place)
    assert (good.member, good.reason) == ("a.jpg", None)
    assert (link.wnid, link.member, link.reason) == ("cats", "link", "not_an_image")
    assert f"a link to '{target}'" in link.detail


def test_links_do_not_multiply_without_end(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}").mkdir()
        for name in "ab":
            (tmp_path / f"{number}" / name).symlink_to(tmp_path / f"{number + 1}")
    rows = listed("class_folders", tmp_path / "0")
    assert len(rows) == 2 ** (class_folders_module.MAX_LINKS + 1)
    assert {row.reason for row in rows} == {"not_an_image"}


def test_linked_and_decomposed_class_folders_are_read(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (source / decomposed).mkdir(parents=True)
    (source / "cats").symlink_to(elsewhere)
    for k in range(6):
        (source / decomposed / f"{k}.png").write_bytes(encoded(photo(k), "PNG"))
        (elsewhere / f"c{k}.png").write_bytes(encoded(photo(10 + k), "PNG"))
    for kind in ("folder", "class_folders"):
        run = tmp_path / kind
        where = {"kind": kind, "path": str(source)}
        chosen, excluded = sample(run, where, [composed, "cats"], total=12, max_per_class=6)
        assert set(chosen["wnid"]) == {composed, "cats"}
        assert not len(excluded)


def test_what_belongs_to_no_class_is_named(tmp_path, caplog):
    for name in ("Cats", "cats", "caf\u00e9", "cafe\u0301"):
        (tmp_path / name).mkdir()
    catalogue_images.warn_of_others("class_folders", tmp_path, {"cats", "caf\u00e9"})
    assert "2 files or folders in" in caplog.text
    assert "belong to no class of images.classes: Cats, cafe\u0301" in caplog.text
    caplog.clear()
    (tmp_path / "Cats").rmdir()
    (tmp_path / "cafe\u0301").rmdir()
    catalogue_images.warn_of_others("class_folders", tmp_path, {"cats", "caf\u00e9"})
    assert not caplog.text


def test_images_directly_in_a_folder_have_its_class(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert [row[:2] for row in listed("folder", tmp_path)] == [(tmp_path.name, "a.jpg")]
    assert image_ids.relative_path("2019/Ä b.tar.JPEG") == "2019/Ä b.tar"


@pytest.mark.parametrize("kind", ONE_OF)
def test_a_place_that_is_gone_is_an_error_with_its_name(tmp_path, kind):
    with pytest.raises(FileNotFoundError, match="vanished"):
        listed(kind, tmp_path / "vanished")


@pytest.mark.parametrize("form", ["class_tars", "class_folders", "webdataset", "hub_parquet"])
def test_a_source_that_vanishes_fails_by_name_and_the_rerun_continues(form, drawn, tmp_path):
    source = FORMS[form](tmp_path / "source", {WNIDS[0]: drawn[WNIDS[0]]})
    (listing,) = catalogued(tmp_path, source, WNIDS[:1], groups=1)
    place = pl.read_parquet(listing)["source"][0]
    output = tmp_path / "candidates.parquet"
    arguments = (listing, output, source["path"], SEED, 9, CRITERIA, PREPARATION)
    shutil.move(tmp_path / "source", tmp_path / "elsewhere")
    with pytest.raises(OSError, match=place) as caught:
        collect_candidates(*arguments, kind=form)
    assert caught.value.errno == errno.ENOENT
    assert not list(tmp_path.glob("*candidates*"))
    shutil.move(tmp_path / "elsewhere", tmp_path / "source")
    collect_candidates(*arguments, kind=form)
    assert pl.read_parquet(output)["reason"].null_count() == 9


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("n00000001_5", None, "n00000001"),
        ("data/n00000001/5", None, "n00000001"),
        ("xn00000001_5", None, None),
        ("5", 1, "b"),
        ("5", "1", "b"),
        ("5", "cats", "cats"),
        ("5", 2, None),
        ("5", -1, None),
        ("5", [1], None),
        ("n00000001_5", 7, "n00000001"),
    ],
)
def test_a_name_or_a_label_determines_the_class(name, label, expected):
    assert labels.class_of(name, label, Classes({"a", "b"}, ["a", "b"])) == expected


def test_samples_are_grouped_by_webdatasets_rules(tmp_path, caplog):
    members = {
        "README": b"x",
        "__meta__.json": b"{}",
        "d.e/n00000001_1.JPG": b"one",
        "d.e/n00000001_1.cls": b"0",
        "n00000002_7.txt": b"a sample without an image",
        "2.cls": b"1\n",
        "2.seg.png": b"a mask",
        "2.webp": b"two",
        "3.json": json.dumps({"wnid": "cats"}).encode(),
        "3.png": b"three",
        "4.json": json.dumps({"filename": "n00000009/4.JPEG", "label": 5}).encode(),
        "4.jpeg": b"four",
        "5.jpg": b"nothing says its class",
        "6.json": b"{broken",
        "6.jpg": b"six",
    }
    place = write_tar(tmp_path / "0.tar", members)
    rows = listed("webdataset", place, numbered=["n00000001", "n00000002"])
    assert [(row.member, row.wnid, row.reason) for row in rows] == [
        ("d.e/n00000001_1.JPG", "n00000001", None),
        ("2.webp", "n00000002", None),
        ("2.seg.png", "n00000002", "extra_image"),
        ("3.png", "cats", None),
        ("4.jpeg", "n00000009", None),
        ("5.jpg", None, "no_class"),
        ("6.jpg", None, "no_class"),
    ]
    with opened("webdataset", place) as read:
        assert read(*rows[1][1:4]) == b"two"
    assert (
        "0.tar: 3 members are left out: README (of no sample), __meta__.json (of no" in caplog.text
    )
    assert "n00000002_7 (a sample without an image)" in caplog.text


@pytest.mark.parametrize(
    "about",
    [
        b"[" * 100_000,
        b'{"label": ' + b"9" * 5_000 + b"}",
        rb'{"wnid": "\ud83d"}',
        rb'{"label": "\ud83d"}',
        rb'{"filename": "\ud83d.jpg"}',
        b"\xff\xfe",
        b"{",
        b'{"wnid": "n00000001", "wnid": "n00000002"}',
    ],
    ids=["deep", "long number", *["half a character"] * 3, "no text", "cut short", "twice"],
)
def test_a_broken_label_costs_its_image_only(tmp_path, about):
    place = write_tar(tmp_path / "0.tar", {"1.jpg": b"x", "1.json": about, "n00000001_2.jpg": b"x"})
    first, second = listed("webdataset", place)
    assert (first.reason, second.reason) == ("no_class", None)
    pl.DataFrame([first.detail]).write_parquet(tmp_path / "a.parquet")


ENDINGS = ["jpg", "image.jpg", "v2.JPG", "2019.01.05.png", "input.avif", "photo.heic"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(ENDINGS)), unique=True, max_size=12),
    st.booleans(),
)
def test_every_image_of_a_webdataset_has_a_row(tmp_path_factory, members, with_labels):
    """Rows in are rows out, or rows with a reason."""
    names = sorted(f"n00000001_{key}.{ending}" for key, ending in members)
    files = {name: b"x" for name in names}
    for key, _ in members if with_labels else ():
        files[f"n00000001_{key}.json"] = b"{}"
    place = write_tar(tmp_path_factory.mktemp("wds") / "0.tar", dict(sorted(files.items())))
    rows = listed("webdataset", place)
    assert sorted(row.member for row in rows) == names
    used = [row.member.partition(".")[0] for row in rows if row.reason is None]
    assert sorted(used) == sorted({name.partition(".")[0] for name in names})
    assert {row.reason for row in rows} <= {None, "extra_image"}
    assert {row.wnid for row in rows} <= {"n00000001"}


@pytest.mark.parametrize(
    ("form", "archive", "wnid"),
    [("class_tars", f"{WNIDS[0]}.tar", WNIDS[0]), ("webdataset", "train-0001.tar", None)],
)
def test_damage_costs_only_what_is_damaged(form, archive, wnid, drawn, tmp_path):
    source = FORMS[form](tmp_path / "source", drawn)
    place = tmp_path / "source" / archive
    place.write_bytes(place.read_bytes()[:60_000])
    _, excluded = sample(tmp_path / "run", source, total=12, max_per_class=6, min_per_class=2)
    damage = excluded.filter(pl.col("reason") == "damaged_archive")
    assert set(damage["source"]) == {archive}
    assert set(damage["wnid"]) == {wnid}
    assert damage["member"].null_count() == 1


@pytest.mark.parametrize("form", ["class_folders", "webdataset"])
def test_images_of_other_classes_are_left_out(form, drawn, tmp_path, caplog):
    source = FORMS[form](tmp_path / "source", drawn)
    (tmp_path / "labels.txt").write_text("\n".join(sorted(WNIDS)))
    if form == "webdataset":
        source["labels"] = str(tmp_path / "labels.txt")
    rows = pl.read_parquet(catalogued(tmp_path, source, WNIDS[:2]))
    assert set(rows["wnid"]) == set(WNIDS[:2])
    left_out = f"of 1 classes that images.classes lacks are left out: {WNIDS[2]}"
    assert (left_out in caplog.text) == (form == "webdataset")


# Parquet ----------------------------------------------------------------------------------------


@pytest.fixture
def grouped(tmp_path):
    """A parquet file of row groups of five images, its rows, and the images by name."""
    data = {f"n00000001_{k}.JPEG": os.urandom(3_000) for k in range(20)}
    hub_parquet(tmp_path, {"n00000001": data}, 1)
    (place,) = tmp_path.glob("data/*")
    return place, listed("hub_parquet", place, ["n00000001"]), data


def test_rows_are_read_in_any_order_and_from_any_row_group(grouped):
    place, rows, data = grouped
    assert [row.offset for row in rows] == list(range(20))
    assert {row.size for row in rows} == {None}
    with opened("hub_parquet", place) as read:
        for row in [*rows[::3], rows[4], rows[4], *rows[::-1]]:
            assert read(row.member, row.offset, None) == data[f"{row.member}.JPEG"]


@pytest.fixture
def hub(tmp_path):
    """A function that writes columns, and names of labels, to a parquet file."""
    place = tmp_path / "a.parquet"

    def write(names=(), **columns):
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        metadata = {"huggingface": json.dumps(about)} if names else None
        pq.write_table(pa.table(columns, metadata=metadata), place)
        return place

    return write


@pytest.mark.parametrize(
    ("names", "expected"), [(["dogs", "cats"], "cats"), (["lemma", "other"], "dogs")]
)
def test_label_names_in_the_file_come_first_where_they_are_classes(hub, names, expected):
    place = hub(names, image=[{"bytes": b"x", "path": None}] * 2, label=[1, 0])
    rows = listed("hub_parquet", place, ["cats", "dogs"], ["cats", "dogs"])
    assert rows[0].wnid == expected
    assert [row.member for row in rows] == ["a_0", "a_1"]


WORDS = ["tench, Tinca tinca", "goldfish", "great white shark"]


def integers(kind, folder, names=()):
    """Write a place of a kind, whose images have integer labels and names that say nothing."""
    if kind == "webdataset":
        return write_tar(folder / "a.tar", {"0.jpg": b"x", "0.cls": b"0"})
    about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    columns = {"image": [{"bytes": b"x", "path": None}], "label": [0]}
    metadata = {"huggingface": json.dumps(about)} if names else None
    pq.write_table(pa.table(columns, metadata=metadata), folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize(
    ("kind", "names"), [("webdataset", []), ("hub_parquet", []), ("hub_parquet", WORDS)]
)
def test_integers_need_evidence_of_what_they_mean(tmp_path, kind, names):
    known = ["n00005787", "n01440764", "n01443537"]
    place = integers(kind, tmp_path, names)
    with pytest.raises(ValueError, match=r"a\.[a-z]+.* the label 0 is an integer, and") as caught:
        listed(kind, place, known)
    for remedy in ("images.source.labels", "`count_classes: true`", *names[:1]):
        assert remedy in str(caught.value)
    (row,) = listed(kind, place, known, known[::-1])
    assert (row.wnid, row.reason) == ("n01443537", None)


def test_other_label_names_than_classes_are_evidence_of_another_order(tmp_path):
    place = integers("hub_parquet", tmp_path, WORDS)
    with pytest.raises(ValueError, match=r"name 3 labels \(tench, .* 2 classes for integer"):
        listed("hub_parquet", place, ["a", "b"], ["a", "b"])


@pytest.mark.parametrize(
    "about",
    [b"{", b"[]", b"[" * 100_000, b'{"info": 1}', b'{"info": {"features": null}}'],
    ids=range(5),
)
def test_metadata_of_another_form_are_no_evidence(tmp_path, about):
    table = pa.table(
        {"image": [{"bytes": b"x", "path": "n00000001_1.JPEG"}], "label": [0]},
        metadata={b"huggingface": about},
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (row,) = listed("hub_parquet", tmp_path / "a.parquet", ["n00000001"])
    assert row.wnid == "n00000001"


def test_what_integers_mean_is_read_from_a_file_or_the_sorted_table(tmp_path):
    classes = write_classes(tmp_path / "classes.tsv", ["n2", "n1"])
    assert labels.read(classes).numbered is None
    assert labels.read(classes, count_classes=True).numbered == ["n1", "n2"]
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffn2 the second\n\nn1\nn9\n", encoding="utf-8")
    assert labels.read(classes, file).numbered == ["n2", "n1", "n9"]
    file.write_text("tench\ngoldfish\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels.txt: no line begins with a class of .*as n2"):
        labels.read(classes, file)


def test_a_class_may_be_called_by_a_number():
    digits = Classes({"0", "1", "10"})
    assert [labels.labelled(label, digits) for label in (10, "1", -1, " ")] == [
        "10",
        "1",
        None,
        None,
    ]
    with pytest.raises(labels.UnknownOrderError, match="the label 2"):
        labels.labelled(2, digits)


def test_rows_without_bytes_class_or_a_safe_name_have_a_reason(hub):
    images = [{"bytes": None, "path": "a.jpg"}, {"bytes": b"x", "path": "../b.jpg"}, None]
    place = hub(image=images, label=["cats", "cats", None])
    rows = listed("hub_parquet", place, ["cats"])
    assert [row.reason for row in rows] == [None, "unsafe_name", "no_class"]
    with pytest.raises(RejectionError, match="not_an_image"), opened("hub_parquet", place) as read:
        read("a.jpg", 0, None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"jpg": [b"x"], "label": [0]}, r"columns label and image.*jpg: binary"),
        (
            {"image": [{"bytes": b"x", "path": "n00000001_1.JPEG"}], "label": [0]},
            r"a.parquet, row 0: .*images.source.labels",
        ),
    ],
)
def test_other_columns_and_contradicting_labels_are_refused(hub, columns, message):
    with pytest.raises(ValueError, match=message):
        listed("hub_parquet", hub(**columns), ["n00000002"], ["n00000002"])


def test_a_damaged_parquet_file_is_one_row(hub):
    place = hub(image=[{"bytes": b"x", "path": "a"}], label=[0])
    place.write_bytes(place.read_bytes()[:-40])
    (row,) = listed("hub_parquet", place, ["cats"])
    assert (row.wnid, row.member, row.reason) == (None, None, "damaged_archive")


def test_a_damaged_row_group_costs_its_images_only(grouped):
    place, rows, data = grouped
    chunk = pq.ParquetFile(place).metadata.row_group(1).column(0)
    content = bytearray(place.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + 30] = b"\xff" * 30
    place.write_bytes(content)
    outcomes = []
    with opened("hub_parquet", place) as read:
        for row in rows:
            outcome = {"reason": None}
            with recorded(outcome):
                assert read(row.member, row.offset, None) == data[f"{row.member}.JPEG"]
            outcomes.append(outcome["reason"])
    assert outcomes == [None] * 5 + ["damaged_archive"] * 5 + [None] * 10


# The outer archive ------------------------------------------------------------------------------


def unpacked(tmp_path, outer, wnids=("n1", "n2")):
    classes = write_classes(tmp_path / "classes.tsv", wnids)
    unpack_outer_archive(outer, classes, tmp_path / "out", tmp_path / "u.parquet")
    return pl.read_parquet(tmp_path / "u.parquet")


def test_nothing_is_written_outside_the_folder(tmp_path, caplog):
    members = {"../n1.tar": b"evil", "/n2.tar": b"evil", "x/n2.tar": b"good"}
    members |= {"n9.tar": b"", "n.txt": b""}
    rows = unpacked(tmp_path, write_tar(tmp_path / "outer.tar", members))
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {
        *("outer.tar", "classes.tsv", "u.parquet", "n2.tar")
    }
    assert (tmp_path / "out" / "n2.tar").read_bytes() == b"good"
    assert (
        "2 members are skipped, as they are no archive of a class of the table: n9" in caplog.text
    )
    assert rows.select("wnid", "archive", "reason").rows() == [
        ("n1", "../n1.tar", "unsafe_name"),
        ("n2", "/n2.tar", "unsafe_name"),
        ("n2", "x/n2.tar", None),
    ]


def test_of_two_archives_of_a_class_the_first_counts(tmp_path):
    members = {"a/n1.tar": b"first", "b/n1.tar": b"second"}
    rows = unpacked(tmp_path, write_tar(tmp_path / "outer.tar", members))
    assert (tmp_path / "out" / "n1.tar").read_bytes() == b"first"
    assert rows["reason"].to_list() == [None, "clashing_archive"]
    present, unusable = split_unpacked(tmp_path / "u.parquet", ["n1", "n2"], True)
    assert present == ["n1"]
    assert unusable.schema == CATALOGUE
    assert unusable["source"].to_list() == ["b/n1.tar"]


def test_a_stopped_unpacking_continues(drawn, tmp_path, caplog):
    source = FORMS["outer_archive"](tmp_path / "source", drawn)
    out, cut = tmp_path / "out", Path(source["archive"])
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    rows = unpacked(tmp_path, cut, WNIDS)
    assert rows["reason"][-1] == "damaged_archive"
    assert 0 < rows["reason"].null_count() < 3
    first = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert len(first) == rows["reason"].null_count()
    left = out / ".n02948072.1.tmp.tar"
    left.write_bytes(b"left by a killed job")
    os.utime(left, (0, 0))
    caplog.clear()
    cut.write_bytes(whole)
    caplog.set_level("INFO", logger="imagenet_think")
    unpacked(tmp_path, cut, WNIDS)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert f"{3 - len(first)} written, {len(first)} there already" in caplog.text
    assert "class archives unpacked: 3 of 3" in caplog.text
    assert {path.name for path in out.iterdir()} == {f"{wnid}.tar" for wnid in WNIDS}
    for wnid in WNIDS:
        assert read_tar(out / f"{wnid}.tar") == drawn[wnid]


@pytest.mark.parametrize(
    ("kind", "size"), [(tarfile.SYMTYPE, 2**20), (tarfile.GNUTYPE_LONGNAME, 10 * 2**30)]
)
def test_links_are_not_followed_and_huge_headers_not_read(tmp_path, kind, size):
    outer = sparse_claim(tmp_path / "outer.tar", "n1.tar", size, kind)
    (row,) = unpacked(tmp_path, outer).rows(named=True)
    assert row["reason"] == "damaged_archive"
    assert ("a header of" in row["detail"]) == (kind != tarfile.SYMTYPE)
    assert not list((tmp_path / "out").iterdir())
