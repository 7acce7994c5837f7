"""Choose the sample: classes, images of each class, and a reason for each rejected image."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.hash_order import image_order_key, order_key
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import EXCLUSIONS, SAMPLE
from imagenet_think.images import complexity as visual
from imagenet_think.images.apportionment import allocate
from imagenet_think.images.classes import described
from imagenet_think.images.near_duplicates import Repetitions
from imagenet_think.images.rejections import recorded


def sample_images(
    classes: str | Path,
    candidates: Sequence[str | Path],
    sample: str | Path,
    exclusions: str | Path,
    *,
    seed: int,
    total: int,
    class_count: int,
    min_per_class: int,
    max_per_class: int,
    balance: float,
    criteria: Mapping[str, Any],
    complexity: Mapping[str, int],
    sharding: Mapping[str, int],
) -> None:
    """Write the sample and the exclusions.

    Every step except the quota is independent of `total`, and a larger total reduces the quota of
    no class, so a larger sample includes every image of a smaller one. If classes are added and the
    total grows by at least what they get, it includes every image that still qualifies, that is,
    all except those that repeat an image of the new classes.

    Parameters
    ----------
    classes, candidates
        Classes with their availability, and the candidates of all groups.
    sample
        Parquet to write, schema `SAMPLE`, by image_id. `complexity_stratum` is 1 (least) to
        `strata`; width and height are the prepared image's.
    exclusions
        Parquet to write, schema `EXCLUSIONS`: every rejected image, by class and member.
    total, class_count, min_per_class, max_per_class
        Images and classes of the sample, exactly, and the bounds of a class (Table 2).
    balance
        Within the bounds, a class gets images in proportion to its size in the source, raised to
        this power.
    seed, criteria, complexity, sharding
        As in the config; of the criteria, `near_duplicate_bits` is used.

    Raises
    ------
    ValueError
        If there are too few classes or images; the message does the arithmetic.
    """
    index = pl.read_parquet(classes)
    looked_at = pl.scan_parquet(list(map(str, candidates))).drop("image").collect()
    looked_at = reject_repetitions(looked_at, seed, criteria)
    measured = looked_at.filter(pl.col("complexity").is_not_null())
    usable = measured.filter(pl.col("reason").is_null())

    supply = Counter(usable["wnid"])
    chosen = choose_classes(
        {wnid: supply[wnid] for wnid in index["wnid"]}, class_count, min_per_class, seed
    )
    available = dict(index.select("wnid", "available").rows())
    images = allocate(
        total,
        [available[wnid] ** balance for wnid in chosen],
        min_per_class,
        [min(max_per_class, supply[wnid]) for wnid in chosen],
    )
    quota = dict(zip(chosen, images, strict=True))
    drawn = pl.concat(
        [
            draw_class(images, quota[images["wnid"][0]], seed, **complexity)
            for images in measured.partition_by("wnid", maintain_order=True)
            if images["wnid"][0] in quota
        ]
    )
    rows = described(drawn, index, sharding)
    write_parquet(rows.select(list(SAMPLE)).sort("image_id"), sample, SAMPLE)
    excluded = looked_at.drop_nulls("reason")
    order = ["wnid", "source", "member", "reason", "detail"]
    write_parquet(excluded.select(list(EXCLUSIONS)).sort(order), exclusions, EXCLUSIONS)
    _account(index, looked_at, len(rows))


def reject_repetitions(
    candidates: pl.DataFrame, seed: int, criteria: Mapping[str, Any]
) -> pl.DataFrame:
    """Reject the accepted candidates that repeat an earlier one of any class.

    Returns the same rows in keyed-hash order over all classes, which determines what is earlier.
    """
    names = candidates.select(pl.col("wnid", "image_id").fill_null("")).iter_rows()
    keys = pl.Series("key", [image_order_key(seed, *each) for each in names], pl.Binary)
    candidates = candidates.with_columns(keys).sort("key", "rank", maintain_order=True)
    kept = Repetitions(criteria)
    reasons: list[tuple[str | None, str | None]] = []
    for row in candidates.iter_rows(named=True):
        if row["reason"] is None:
            with recorded(row):
                kept.keep(row)
        reasons.append((row["reason"], row["detail"]))
    columns = pl.DataFrame(reasons, {"reason": pl.String, "detail": pl.String}, orient="row")
    return candidates.drop("key").with_columns(columns)


def choose_classes(supply: Mapping[str, int], count: int, least: int, seed: int) -> list[str]:
    """Choose `count` classes with at least `least` usable images, in the order of `supply`.

    If more classes qualify, the first in the keyed-hash order of (seed, wnid) are taken.

    Raises
    ------
    ValueError
        If fewer qualify; the message names those that come closest.
    """
    able = [wnid for wnid, images in supply.items() if images >= least]
    if len(able) < count:
        short = sorted(supply.keys() - set(able), key=lambda wnid: (-supply[wnid], wnid))
        closest = ", ".join(f"{wnid} has {supply[wnid]}" for wnid in short[:5])
        raise ValueError(
            f"class_count: {count} classes with at least {least} usable images are wanted "
            f"(min_per_class), but of {len(supply)} classes {len(able)} have so many; "
            f"{count - len(able)} are missing. Closest: {closest or 'none'}. Lower class_count or "
            "min_per_class; the logs of collect_candidates count the rejected images by reason"
        )
    taken = set(sorted(able, key=lambda wnid: order_key(seed, wnid))[:count])
    return [wnid for wnid in able if wnid in taken]


def draw_class(
    images: pl.DataFrame, count: int, seed: int, strata: int, probe: int
) -> pl.DataFrame:
    """Draw `count` images of a class so that its strata of complexity are balanced.

    Parameters
    ----------
    images
        Measured images of one class, in hash order. Those with a reason, which repeat an image of
        another class, are not drawn but count in the probe: so no class moves another's bounds.
    count
        Images to draw.
    seed
        Determines, with the wnid, which stratum begins.
    strata, probe
        As for `imagenet_think.images.complexity.strata`.
    """
    members = visual.strata(images["complexity"].to_list(), strata, probe)
    first = int.from_bytes(order_key(seed, images["wnid"][0]))
    stratum = pl.Series("complexity_stratum", members, pl.Int64)
    usable = images.with_columns(stratum).filter(pl.col("reason").is_null())
    order = visual.draw_order(usable["complexity_stratum"].to_list(), strata, first)
    return usable[order[:count]]


def _account(index: pl.DataFrame, looked_at: pl.DataFrame, chosen: int) -> None:
    """Log what became of every member of the catalogue; raise if the files are inconsistent."""
    available = index["available"].sum()
    ranked = looked_at.drop_nulls("rank")
    listed = len(looked_at.filter(pl.col("rank").is_null(), pl.col("member").is_not_null()))
    excluded = len(ranked.drop_nulls("reason"))
    unseen = available - len(ranked)
    reserve = len(ranked) - excluded - chosen
    if unseen < 0:
        raise ValueError(
            f"{len(ranked)} candidates of {available} catalogued images: classes and candidates "
            "come from different catalogues"
        )
    logger.info(
        f"{available + listed} members: {chosen} chosen, {reserve} in reserve (not drawn), "
        f"{unseen} not examined, {excluded + listed} excluded"
    )
    for reason, count in sorted(Counter(looked_at["reason"].drop_nulls()).items()):
        logger.info("excluded, %s: %d", reason, count)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    sample_images(
        snakemake.input.classes,
        snakemake.input.candidates,
        snakemake.output.sample,
        snakemake.output.exclusions,
        seed=settings["seed"],
        sharding=settings["sharding"],
        **settings["images"],
    )
