import hashlib
import logging

import polars as pl
import pytest
from image_stages import SETTINGS, candidates, collected, group_files, sampled
from pictures import encoded, photo
from source_forms import class_tars, write_classes

from gather_shard import gather_shard
from imagenet_think.core.schemas import CATALOGUE, CLASSES, EXCLUSIONS, IMAGES, SAMPLE
from imagenet_think.core.shards import names
from index_classes import index_classes
from sample_images import choose_classes, draw_class, sample_images

SIZES = {"n00000001": 6, "n00000002": 12, "n00000003": 9, "n00000004": 2, "n00000005": 0}
SHARED = encoded(photo(999))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Small archives, collected in two groups."""
    folder = tmp_path_factory.mktemp("stage")
    archives = {}
    for wnid, count in SIZES.items():
        members = {f"{wnid}_{k}.JPEG": encoded(photo(int(wnid[1:]) * 50 + k)) for k in range(count)}
        if wnid in ("n00000001", "n00000003"):
            members["broken.JPEG"] = b"broken"  # image_id clashes, but neither is accepted
            members[f"{wnid}_shared.JPEG"] = SHARED
        if count:
            archives[wnid] = members
    return collected(folder, class_tars(folder / "source", archives), list(SIZES), wanted=8)


def draw(folder, **changes):
    return sampled(folder, **{"total": 15, "min_per_class": 3} | changes)


def test_classes_are_indexed_in_order(stage):
    index = pl.read_parquet(stage / "classes.parquet")
    assert index.schema == CLASSES
    assert index["wnid"].to_list() == list(SIZES)
    assert index["class_index"].to_list() == [0, 1, 2, 3, 4]
    assert index["available"].to_list() == [8, 12, 11, 2, 0]


def test_what_cannot_be_read_is_not_available_and_every_class_is_in_the_table(stage, tmp_path):
    row = dict.fromkeys(CATALOGUE) | {"wnid": "n00000002", "source": "n00000002.tar"}
    rows = [row, row | {"reason": "damaged_archive"}, row | {"reason": "not_an_image"}]
    catalogue, index = tmp_path / "catalogue.parquet", tmp_path / "classes.parquet"
    pl.DataFrame(rows, schema=CATALOGUE).write_parquet(catalogue)
    index_classes(stage / "classes.tsv", [catalogue], index)
    assert pl.read_parquet(index)["available"].to_list() == [0, 1, 0, 0, 0]
    table = write_classes(tmp_path / "classes.tsv", ["n00000001"])
    with pytest.raises(ValueError, match="lacks: n00000002"):
        index_classes(table, [catalogue], index)


def test_the_sample_has_the_requested_numbers(stage):
    sample, exclusions = draw(stage)
    assert sample.schema == SAMPLE
    assert exclusions.schema == EXCLUSIONS
    assert len(sample) == 15
    assert sample["image_id"].n_unique() == 15
    counts = sample["wnid"].value_counts()["count"]
    assert len(counts) == 3
    assert counts.is_between(3, 7).all()
    assert sample.null_count().row(0) == (0,) * len(SAMPLE)
    assert sample["image_id"].to_list() == sorted(sample["image_id"])
    first = sample.row(0, named=True)
    assert first["lemma"] == f"lemma of {first['wnid']}"
    assert set(sample["complexity_stratum"]) == {1, 2, 3}


@pytest.mark.parametrize(("balance", "expected"), [(0, [5, 5, 5]), (1, [4, 6, 5])])
def test_balance_weighs_the_size_of_a_class(stage, balance, expected):
    # 8, 12 and 11 images are available: 15 × 8/31 = 3.9, 5.8, 5.3.
    sample, _ = draw(stage, balance=balance)
    assert sample.group_by("wnid").len().sort("wnid")["len"].to_list() == expected


def test_a_class_is_drawn_across_its_strata():
    images = pl.DataFrame(
        {"wnid": ["n1"] * 9, "image_id": [f"{k}" for k in range(9)], "reason": [None] * 9}
        | {"complexity": [1.0, 1.1, 1.2, 1.3, 1.4, 5.0, 5.1, 9.0, 9.1]}
    )
    drawn = draw_class(images, 6, seed=7, strata=3, probe=9)
    assert sorted(drawn["image_id"]) == ["0", "1", "3", "4", "6", "7"]
    assert sorted(drawn["complexity_stratum"]) == [1, 1, 2, 2, 3, 3]


def test_an_image_in_two_classes_is_kept_once(stage):
    _, exclusions = draw(stage)
    twins = exclusions.filter(pl.col("reason") == "near_duplicate")
    assert len(twins) == 1
    assert twins["member"][0].endswith("_shared.JPEG")
    assert twins["detail"][0].startswith("0 bits from n0000000")


def test_nothing_is_lost(stage, caplog):
    with caplog.at_level(logging.INFO, logger="imagenet_think"):
        sample, exclusions = draw(stage)
    looked_at = candidates(stage)
    members = sum(SIZES.values()) + 4
    unseen = members - len(looked_at)
    reserve = len(looked_at) - len(sample) - len(exclusions)
    assert unseen > 0
    assert reserve > 0
    key = ["wnid", "source", "member"]
    assert sample.join(exclusions, on=key, how="semi").is_empty()
    assert len(sample.join(looked_at, on=key, how="semi")) == len(sample)
    assert len(exclusions.join(looked_at, on=key, how="semi")) == len(exclusions)
    assert (
        f"{members} members: 15 chosen, {reserve} in reserve (not drawn), {unseen} not examined, "
        f"{len(exclusions)} excluded"
    ) in caplog.text


def test_the_same_seed_gives_the_same_bytes_in_any_order_of_files(stage, tmp_path):
    assert not draw(stage, seed=8)[0].equals(draw(stage)[0])
    names = "sample.parquet", "exclusions.parquet"
    inputs = stage / "classes.parquet", group_files(stage, "candidates")[::-1]
    changes = {"total": 15, "min_per_class": 3}
    sample_images(*inputs, *(tmp_path / name for name in names), **SETTINGS | changes)
    for name in names:
        assert (stage / name).read_bytes() == (tmp_path / name).read_bytes()


def test_too_few_classes_are_refused_with_the_arithmetic(stage):
    message = "of 5 classes 3 have so many; 1 are missing. Closest: n00000004 has 2"
    with pytest.raises(ValueError, match=message):
        draw(stage, class_count=4)


def test_classes_are_chosen_by_the_seed_and_kept_when_others_are_added():
    supply = {f"n{k:08d}": 5 for k in range(40)}
    chosen = choose_classes(supply, 10, 5, seed=1)
    assert chosen == sorted(chosen)
    assert chosen != choose_classes(supply, 10, 5, seed=2)
    assert set(chosen) < set(choose_classes(supply, 11, 5, seed=1))
    assert chosen == choose_classes(supply | {"n99": 4}, 10, 5, seed=1)


def test_candidates_of_another_catalogue_are_refused(stage, tmp_path):
    index = pl.read_parquet(stage / "classes.parquet").with_columns(available=pl.lit(4))
    index.write_parquet(tmp_path / "classes.parquet")
    inputs = tmp_path / "classes.parquet", group_files(stage, "candidates")
    with pytest.raises(ValueError, match="different catalogues"):
        sample_images(*inputs, tmp_path / "sample", tmp_path / "exclusions", **SETTINGS)


def test_shards_hold_every_image_once(stage, tmp_path):
    sample, _ = draw(stage)
    gathered = []
    for shard in [*names(**SETTINGS["sharding"]), "one without images"]:
        path = tmp_path / f"{shard}.parquet"
        gather_shard(stage / "sample.parquet", group_files(stage, "candidates"), shard, path)
        images = pl.read_parquet(path)
        assert images.schema == IMAGES
        assert set(images["image_id"]) == set(sample.filter(shard=shard)["image_id"])
        gathered.append(images)
    images = pl.concat(gathered).sort("image_id")
    columns = ["image_id", "wnid", "width", "height", "sha256", "source_sha256"]
    assert images.select(columns).equals(sample.select(columns))
    for row in images.iter_rows(named=True):
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
        assert row["image"]["path"] == f"{row['image_id']}.jpg"


def test_a_sampled_image_is_gathered_without_its_rejected_twin_or_is_an_error(stage, tmp_path):
    shard = draw(stage)[0].filter(wnid="n00000003")["shard"][0]
    sample, files, made = stage / "sample.parquet", group_files(stage, "candidates"), tmp_path / "a"
    gather_shard(sample, files, shard, made)
    before = made.read_bytes()
    # An archive may hold two members of one name: the second is a clash.
    clash = {"reason": pl.lit("clashing_id"), "image": pl.lit(None, pl.Binary)}
    candidates(stage).with_columns(**clash).write_parquet(tmp_path / "twins")
    gather_shard(sample, [*files, tmp_path / "twins"], shard, made)
    assert made.read_bytes() == before
    with pytest.raises(ValueError, match="do not belong together"):
        gather_shard(sample, files[1:], shard, made)
