import gzip
import hashlib
import io

import polars as pl
import pytest
from pictures import CRITERIA, PREPARATION, bomb, encoded, noise, photo, write_tar
from PIL import Image, ImageFilter

from catalogue_images import catalogue_images
from collect_candidates import collect_candidates
from imagenet_think.core.hash_order import order_key
from imagenet_think.core.schemas import CANDIDATES, CATALOGUE

WNIDS = ["n00000001", "n00000002"]


@pytest.fixture
def classes(tmp_path):
    path = tmp_path / "classes.tsv"
    rows = ["wnid\tlemmas\tdomain\thypernym"] + [f"{wnid}\ta, b\tfood\tn1" for wnid in WNIDS]
    path.write_text("\n".join(rows) + "\n")
    return path


def collect(tmp_path, classes, archives, wanted=50, threads=1, seed=7, **criteria):
    """Write archives, catalogue them and return their candidates."""
    source = tmp_path / "source"
    tars = [write_tar(source / f"{wnid}.tar", members) for wnid, members in archives.items()]
    catalogue_images(classes, tars, tmp_path / "catalogue.parquet")
    output = tmp_path / f"candidates-{threads}.parquet"
    collect_candidates(
        tmp_path / "catalogue.parquet",
        output,
        source,
        seed,
        wanted,
        CRITERIA | criteria,
        PREPARATION,
        threads,
    )
    return pl.read_parquet(output)


def good(wnid, count, first=0):
    return {
        f"{wnid}_{k}.JPEG": encoded(photo(int(wnid[1:]) * 100 + k)) for k in range(first, count)
    }


@pytest.fixture(scope="module")
def planted():
    """One member of each kind that must be turned away, among good ones."""
    base = photo(1)
    jpeg = encoded(base)
    return {
        "good.JPEG": jpeg,
        "gzipped.JPEG": gzip.compress(encoded(photo(2))),
        "double.JPEG.gz": gzip.compress(encoded(photo(3))),
        "too_small.JPEG": encoded(photo(4, (223, 300))),
        "strip.JPEG": encoded(photo(5, (1_500, 240))),
        "truncated.JPEG": encoded(photo(6))[:-4_000],
        "text.JPEG": b"no picture here",
        "blank.JPEG": encoded(Image.new("RGB", (240, 240), (90, 120, 90))),
        "noise.JPEG": encoded(noise(7)),
        "blurred.JPEG": encoded(photo(8).filter(ImageFilter.GaussianBlur(7))),
        "bomb.JPEG": bomb(),
        "denied.JPEG": encoded(photo(9)),
    }


EXPECTED = {
    "too_small": "too_small",
    "strip": "too_small",
    "truncated": "undecodable",
    "text": "not_an_image",
    "blank": "low_contrast",
    "noise": "noisy",
    "blurred": "blurred",
    "bomb": "too_many_pixels",
    "denied": "denied_image",
}


def test_every_planted_fault_is_named(tmp_path, classes, planted):
    rows = collect(tmp_path, classes, {WNIDS[0]: planted}, denied_images=["denied"])
    assert rows.schema == CANDIDATES
    found = dict(rows.drop_nulls("reason").select("image_id", "reason").rows())
    assert found == EXPECTED
    assert rows.drop_nulls("reason")["detail"].null_count() == 0
    accepted = rows.filter(pl.col("reason").is_null())
    assert set(accepted["image_id"]) == {"good", "gzipped", "double"}
    assert set(rows["source"]) == {f"{WNIDS[0]}.tar"}


def test_an_accepted_candidate_is_complete(tmp_path, classes, planted):
    rows = collect(tmp_path, classes, {WNIDS[0]: planted})
    row = rows.row(by_predicate=pl.col("image_id") == "gzipped", named=True)
    content = gzip.decompress(planted["gzipped.JPEG"])
    assert row["source_bytes"] == len(content)
    assert row["source_sha256"] == hashlib.sha256(content).hexdigest()
    assert row["image"] == content  # it already conforms
    assert row["sha256"] == hashlib.sha256(row["image"]).hexdigest()
    assert (row["width"], row["height"]) == Image.open(io.BytesIO(row["image"])).size
    assert row["complexity"] > 0
    assert row["perceptual_hash"] > 0


def test_of_near_duplicates_the_first_in_hash_order_is_kept(tmp_path, classes):
    image = photo(1, (300, 260))
    twins = {"a.JPEG": encoded(image), "b.JPEG": encoded(image.resize((270, 234)), quality=80)}
    rows = collect(tmp_path, classes, {WNIDS[0]: twins}, seed=7)
    first, second = sorted(twins, key=lambda member: order_key(7, WNIDS[0], member[0]))
    assert rows["member"].to_list() == [first, second]
    assert rows["reason"].to_list() == [None, "near_duplicate"]
    assert rows["detail"][1].endswith(f"bits from {first[0]}")
    assert rows["image"].null_count() == 1


def test_one_name_twice_is_a_clash(tmp_path, classes):
    members = {"one/a.JPEG": encoded(photo(1)), "two/a.jpg": encoded(photo(2))}
    rows = collect(tmp_path, classes, {WNIDS[0]: members})
    assert rows["reason"].to_list() == [None, "clashing_id"]
    assert rows["member"][0] in rows["detail"][1]


def test_a_denied_class_is_not_read(tmp_path, classes):
    archives = {WNIDS[0]: {"a.JPEG": b"?"}, WNIDS[1]: good(WNIDS[1], 2)}
    rows = collect(tmp_path, classes, archives, denied_classes=[WNIDS[0]])
    assert rows.filter(pl.col("wnid") == WNIDS[0])["reason"].to_list() == ["denied_class"]
    assert rows.filter(pl.col("wnid") == WNIDS[1])["reason"].null_count() == 2


def test_no_member_is_read_beyond_the_last_one_wanted(tmp_path, classes, planted):
    archives = {WNIDS[0]: planted | good(WNIDS[0], 20)}
    everything = collect(tmp_path, classes, archives)
    some = collect(tmp_path, classes, archives, wanted=6)
    assert some.equals(everything.head(len(some)))
    assert some["reason"].null_count() == 6
    assert some["reason"][-1] is None
    assert some["rank"].to_list() == list(range(len(some)))


def test_a_denied_image_is_listed_though_it_is_far_down(tmp_path, classes):
    members = good(WNIDS[0], 12)
    last = max(members, key=lambda member: order_key(7, WNIDS[0], member.removesuffix(".JPEG")))
    rows = collect(
        tmp_path, classes, {WNIDS[0]: members}, wanted=2, denied_images=[last.removesuffix(".JPEG")]
    )
    assert rows["member"].to_list()[-1] == last
    assert rows["rank"].to_list() == [0, 1, 11]


def test_more_threads_give_the_same_bytes(tmp_path, classes, planted):
    archives = {WNIDS[0]: planted, WNIDS[1]: good(WNIDS[1], 8)}
    for threads in (1, 3):
        collect(tmp_path, classes, archives, threads=threads)
    one, three = (tmp_path / f"candidates-{threads}.parquet" for threads in (1, 3))
    assert one.read_bytes() == three.read_bytes()


def test_a_damaged_archive_costs_only_what_is_damaged(tmp_path, classes):
    source = tmp_path / "source"
    tars = [write_tar(source / f"{wnid}.tar", good(wnid, 4)) for wnid in WNIDS]
    whole = tars[0].read_bytes()
    tars[0].write_bytes(whole[: len(whole) // 2])
    catalogue_images(classes, tars, tmp_path / "catalogue.parquet")
    catalogue = pl.read_parquet(tmp_path / "catalogue.parquet")
    assert catalogue.schema == CATALOGUE
    output = tmp_path / "candidates.parquet"
    collect_candidates(tmp_path / "catalogue.parquet", output, source, 7, 9, CRITERIA, PREPARATION)
    rows = pl.read_parquet(output)
    damaged = rows.filter(pl.col("reason") == "damaged_archive")
    assert damaged["wnid"].unique().to_list() == [WNIDS[0]]
    assert damaged["member"].null_count() == 1
    accepted = rows.filter(pl.col("reason").is_null())["wnid"].value_counts()
    assert dict(accepted.rows())[WNIDS[1]] == 4
    assert len(rows) == len(catalogue)


def test_a_group_without_archives_gives_empty_files(tmp_path, classes):
    rows = collect(tmp_path, classes, {})
    assert (len(rows), rows.schema) == (0, CANDIDATES)


def test_an_archive_of_an_unknown_class_is_refused(tmp_path, classes):
    with pytest.raises(ValueError, match="n99999999"):
        collect(tmp_path, classes, {"n99999999": good("n99999999", 1)})
