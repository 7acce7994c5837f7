import gzip
import hashlib
import io

import polars as pl
from image_stages import SEED, candidates, collected
from noise import noise
from pictures import bomb, encoded, photo
from PIL import Image, ImageFilter
from source_forms import class_tars

from imagenet_think.core.hash_order import order_key
from imagenet_think.core.schemas import CANDIDATES
from imagenet_think.images.image_ids import stem

WNIDS = ["n00000001", "n00000002"]


def collect(folder, archives, **options):
    """Return the candidates of archives, whose members are given by class."""
    source = class_tars(folder / "source", archives)
    return candidates(collected(folder, source, list(archives), groups=1, **options))


def good(wnid, count):
    return {f"{wnid}_{k}.JPEG": encoded(photo(int(wnid[1:]) * 100 + k)) for k in range(count)}


PLANTED = {
    "good.JPEG": (encoded(photo(1)), None),
    "gzipped.JPEG": (gzip.compress(encoded(photo(2))), None),
    "double.JPEG.gz": (gzip.compress(encoded(photo(3))), None),
    "too_small.JPEG": (encoded(photo(4, (223, 300))), "too_small"),
    "strip.JPEG": (encoded(photo(5, (1_500, 240))), "too_small"),
    "truncated.JPEG": (encoded(photo(6))[:-4_000], "undecodable"),
    "text.JPEG": (b"no picture here", "not_an_image"),
    "blank.JPEG": (encoded(Image.new("RGB", (240, 240), (90, 120, 90))), "low_contrast"),
    "noise.JPEG": (encoded(noise(7, 240, 232)), "noisy"),
    "blurred.JPEG": (encoded(photo(8).filter(ImageFilter.GaussianBlur(7))), "blurred"),
    "bomb.JPEG": (bomb(), "too_many_pixels"),
    "denied.JPEG": (encoded(photo(9)), "denied_image"),
}
"""Good images, and one or more for each reason to reject."""
FILES = {name: data for name, (data, _) in PLANTED.items()}


def test_every_planted_fault_is_named_and_an_accepted_candidate_is_complete(tmp_path):
    rows = collect(tmp_path, {WNIDS[0]: FILES}, denied_images=["denied"])
    assert rows.schema == CANDIDATES
    expected = {name: reason for name, (_, reason) in PLANTED.items()}
    assert dict(rows.select("member", "reason").rows()) == expected
    assert rows.drop_nulls("reason")["detail"].null_count() == 0
    assert set(rows["source"]) == {f"{WNIDS[0]}.tar"}
    row = rows.row(by_predicate=pl.col("image_id") == "gzipped", named=True)
    content = gzip.decompress(FILES["gzipped.JPEG"])
    assert row["source_bytes"] == len(content)
    assert row["source_sha256"] == hashlib.sha256(content).hexdigest()
    assert row["image"] == content  # it already conforms
    assert row["sha256"] == hashlib.sha256(row["image"]).hexdigest()
    assert (row["width"], row["height"]) == Image.open(io.BytesIO(row["image"])).size
    assert row["complexity"] > 0
    assert row["perceptual_hash"] > 0


def test_of_near_duplicates_the_first_in_hash_order_is_kept(tmp_path):
    image = photo(1, (300, 260))
    twins = {"a.JPEG": encoded(image), "b.JPEG": encoded(image.resize((270, 234)), quality=80)}
    rows = collect(tmp_path, {WNIDS[0]: twins})
    first, second = sorted(twins, key=lambda member: order_key(SEED, WNIDS[0], member[0]))
    assert rows["member"].to_list() == [first, second]
    assert rows["reason"].to_list() == [None, "near_duplicate"]
    assert rows["detail"][1].endswith(f"bits from {first[0]}")
    assert rows["image"].null_count() == 1


def test_one_name_twice_is_a_clash(tmp_path):
    members = {"one/a.JPEG": encoded(photo(1)), "two/a.jpg": encoded(photo(2))}
    rows = collect(tmp_path, {WNIDS[0]: members})
    assert rows["reason"].to_list() == [None, "clashing_id"]
    assert rows["member"][0] in rows["detail"][1]


def test_a_denied_class_is_not_read(tmp_path):
    archives = {WNIDS[0]: {"a.JPEG": b"?"}, WNIDS[1]: good(WNIDS[1], 2)}
    rows = collect(tmp_path, archives, denied_classes=[WNIDS[0]])
    assert rows.filter(pl.col("wnid") == WNIDS[0])["reason"].to_list() == ["denied_class"]
    assert rows.filter(pl.col("wnid") == WNIDS[1])["reason"].null_count() == 2


def test_no_member_is_read_beyond_the_last_one_wanted(tmp_path):
    archives = {WNIDS[0]: FILES | good(WNIDS[0], 20)}
    everything = collect(tmp_path, archives)
    some = collect(tmp_path, archives, wanted=6)
    assert some.equals(everything.head(len(some)))
    assert some["reason"].null_count() == 6
    assert some["reason"][-1] is None
    assert some["rank"].to_list() == list(range(len(some)))


def test_a_denied_image_is_listed_whatever_its_rank(tmp_path):
    members = good(WNIDS[0], 12)
    last = max(map(stem, members), key=lambda image: order_key(SEED, WNIDS[0], image))
    rows = collect(tmp_path, {WNIDS[0]: members}, wanted=2, denied_images=[last])
    assert rows["image_id"][-1] == last
    assert rows["rank"].to_list() == [0, 1, 11]


def test_more_threads_give_the_same_bytes(tmp_path):
    archives = {WNIDS[0]: FILES, WNIDS[1]: good(WNIDS[1], 8)}
    written = set()
    for threads in (1, 3):
        collect(tmp_path, archives, threads=threads)
        written.add((tmp_path / "candidates-0.parquet").read_bytes())
    assert len(written) == 1


def test_a_group_without_archives_gives_empty_files(tmp_path):
    source = class_tars(tmp_path / "source")
    (tmp_path / "source").mkdir()
    rows = candidates(collected(tmp_path, source, WNIDS[:1], groups=1))
    assert (len(rows), rows.schema) == (0, CANDIDATES)
