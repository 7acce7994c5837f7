"""Averages and maxima over both teachers, their means over images, and intervals."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.aggregation import Intervals, aggregate
from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to, logger
from imagenet_think.schemas import AGGREGATES, SCORE_COLUMNS, scores


def read_scores(paths: Sequence[str | Path]) -> dict[str, pl.DataFrame]:
    """Read all scores files, grouped by kind, which their columns tell.

    Raises
    ------
    ValueError
        If a file has the columns of no kind, or a kind has no file.
    """
    kinds = {tuple(scores(kind)): kind for kind in SCORE_COLUMNS}
    files: dict[str, list[str | Path]] = {kind: [] for kind in SCORE_COLUMNS}
    for path in paths:
        columns = tuple(pl.read_parquet_schema(path))
        if columns not in kinds:
            raise ValueError(f"{path}: its columns {list(columns)} are those of no scores file")
        files[kinds[columns]].append(path)
    for kind, found in files.items():
        if not found:
            raise ValueError(f"no scores file of {kind} among the {len(paths)} files given")
    return {kind: pl.concat(map(pl.read_parquet, found)) for kind, found in files.items()}


def aggregate_scores(
    score_files: Sequence[str | Path],
    output: str | Path,
    *,
    models: Sequence[str],
    teachers: Sequence[str],
    intervals: Mapping[str, float],
    seed: int,
) -> None:
    """Write the benchmark's numbers.

    Parameters
    ----------
    score_files
        Parquet files of schemas `scores(kind)`, all kinds and shards.
    output
        Parquet file of schema `AGGREGATES`.
    models, teachers
        Keys of the benchmarked models and of the two teachers.
    intervals
        `draws` and `level` of the intervals.
    seed
        Of the resamples.
    """
    frame = aggregate(read_scores(score_files), models, Intervals(**intervals, seed=seed))
    for row in frame.filter(metric="bertscore", aggregate="avg").iter_rows(named=True):
        logger.info(
            "%s, %s against %s: %d images, %d left out",
            *(row["model"], row["part"], " and ".join(teachers), row["images"], row["left_out"]),
        )
    write_parquet(frame, output, AGGREGATES)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    aggregate_scores(
        snakemake.input.scores,
        snakemake.output[0],
        **json.loads(snakemake.params.settings),
    )
