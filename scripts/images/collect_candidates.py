"""Read, check and prepare the images of a group of classes that the sample may be drawn from."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.files import parquet_writer
from imagenet_think.core.hash_order import image_order_key
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, progress
from imagenet_think.core.pools import in_turn
from imagenet_think.core.schemas import CANDIDATES
from imagenet_think.images import criteria, sources
from imagenet_think.images.complexity import spatial_information
from imagenet_think.images.near_duplicates import Repetitions, perceptual_hash
from imagenet_think.images.preparation import decode
from imagenet_think.images.rejections import recorded

CandidateRow = dict[str, Any]

PREPARED = ("width", "height", "sha256", "complexity", "perceptual_hash", "image")
"""Columns that only accepted candidates have."""


def collect_candidates(
    catalogue: str | Path,
    output: str | Path,
    source: str | Path,
    seed: int,
    candidates_per_class: int,
    thresholds: Mapping[str, Any],
    preparation: Mapping[str, int],
    threads: int = 1,
    kind: str = "class_tars",
) -> None:
    """Write the candidates of each class: accepted ones prepared, rejected ones with their reason.

    The members of a class are taken in the keyed-hash order of (seed, wnid, image_id) until
    `candidates_per_class` are accepted or none is left. So the candidates depend neither on the
    size of the sample nor on the number of threads.

    Parameters
    ----------
    catalogue
        Catalogue of the group.
    output
        Parquet to write, schema `CANDIDATES`: by class in the catalogue's order, then by rank. Each
        class is a row group, written once it is complete, so that the images of few more than
        `threads` classes are in memory.
    source, kind
        The source folder, and its layout (`images.source.kind`).
    seed, candidates_per_class
        The run's seed, and the accepted images after which a class is complete.
    thresholds, preparation
        `images.criteria` and `images.preparation` of the config.
    threads
        Classes processed at a time.
    """
    collect = partial(
        collect_class,
        layout=sources.get_sampled(kind),
        folder=Path(source),
        seed=seed,
        wanted=candidates_per_class,
        thresholds=criteria.with_deny_files(thresholds),
        preparation=preparation,
    )
    classes = pl.read_parquet(catalogue).partition_by("wnid", maintain_order=True)
    counts = Counter[str]()
    with ThreadPoolExecutor(threads) as pool, parquet_writer(output, CANDIDATES) as write:
        members = (frame.to_dicts() for frame in classes)
        done = in_turn(pool, collect, members, ahead=threads)
        for rows in progress(done, len(classes), "classes collected"):
            write(pl.DataFrame(rows, schema=CANDIDATES))
            counts.update(row["reason"] or "accepted" for row in rows)
    for reason, count in sorted(counts.items()):
        logger.info("%s: %d", reason, count)


def collect_class(
    members: list[CandidateRow],
    layout: sources.SampledSource,
    folder: Path,
    seed: int,
    wanted: int,
    thresholds: Mapping[str, Any],
    preparation: Mapping[str, int],
) -> list[CandidateRow]:
    """Return the candidates of one class, in the order of their rank.

    Members are read in batches of as many as are still wanted, and in the order of their archive,
    so that none is read beyond the one that completes the class.
    """
    unreadable = [_row(member, layout) for member in members if member["reason"]]
    ordered = in_hash_order([member for member in members if not member["reason"]], seed, layout)
    rows: list[CandidateRow] = []

    def candidates() -> Iterator[CandidateRow]:
        # Rows are created on demand: a class may have a hundred times as many members.
        for rank, member in enumerate(ordered):
            row = _row(member, layout) | {"rank": rank}
            with recorded(row):
                named = criteria.Candidate(row["wnid"], row["image_id"])
                criteria.require("name", named, thresholds)
            if row["reason"]:
                rows.append(row)
            else:
                yield row

    accepted, kept, queue = 0, Repetitions(thresholds), candidates()
    while batch := list(islice(queue, wanted - accepted)):
        for row, read in layout.read(batch, folder):
            with recorded(row):
                data = read(row["member"], row["offset"], row["bytes"])
                row["source_bytes"] = len(data)
                row["source_sha256"] = hashlib.sha256(data).hexdigest()
                row.update(examine(data, thresholds, preparation))
        for row in batch:
            if row["reason"] is None:
                with recorded(row):
                    kept.keep(row)
                if row["reason"]:
                    row.update(dict.fromkeys(PREPARED))
            accepted += row["reason"] is None
        rows += batch
    if any(criteria.applied(thresholds, "name")):
        deque(queue, maxlen=0)  # an image rejected by its name is listed, whatever its rank
    rows.sort(key=lambda row: row["rank"])
    return [{name: row[name] for name in CANDIDATES} for row in unreadable + rows]


def in_hash_order(
    members: list[CandidateRow], seed: int, layout: sources.SampledSource
) -> list[CandidateRow]:
    """Return members in the keyed-hash order of (seed, wnid, image_id), ties by place."""

    def place(member: CandidateRow) -> tuple[Any, ...]:
        key = image_order_key(seed, member["wnid"], layout.image_id(member["member"]))
        return key, member["member"], member["source"], member["offset"]

    return sorted(members, key=place)


def _row(member: CandidateRow, layout: sources.SampledSource) -> CandidateRow:
    """Return a candidate row with what the catalogue knows."""
    name = member["member"]
    return dict.fromkeys(CANDIDATES) | member | {"image_id": name and layout.image_id(name)}


def examine(
    data: bytes, thresholds: Mapping[str, Any], preparation: Mapping[str, int]
) -> CandidateRow:
    """Prepare an image; return the columns `PREPARED`.

    Raises
    ------
    RejectionError
        With the first criterion, of those that need no other image, that is not met.
    """
    prepared = decode(data, thresholds, preparation)
    candidate = criteria.Candidate(size=prepared.image.size, prepared=prepared.image)
    criteria.require("pixels", candidate, thresholds)
    return prepared.stored() | {
        "complexity": spatial_information(candidate.grey),
        "perceptual_hash": perceptual_hash(prepared.image),
    }


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    images = settings["images"]
    collect_candidates(
        snakemake.input.catalogue,
        snakemake.output[0],
        images["source"]["path"],
        seed=settings["seed"],
        candidates_per_class=images["max_per_class"] + images["reserve"],
        thresholds=images["criteria"],
        preparation=images["preparation"],
        threads=snakemake.threads,
        kind=images["source"]["kind"],
    )
