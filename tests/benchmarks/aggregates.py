"""Benchmark of the intervals, and of the jobs that make them, at the paper's size.

Run as `python tests/benchmarks/aggregates.py`. First the intervals alone: of 90 means over 250,000
images. Then the three jobs of the metric with most measures on generated scores files of
250,000 images, five models and three parts in 64 shards: seconds, and the peak memory of each.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

# One thread of linear algebra, so that the workers are all the parallelism there is.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "analysis"))

import numpy as np
import polars as pl
from measuring import alone, peak, timed

from aggregate_groups import aggregate_groups
from aggregate_scores import aggregate_scores
from compare_models import compare_models
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.intervals import Classes, Intervals, margins
from imagenet_think.analysis.populations import DRAWN, FIXED
from imagenet_think.core.schemas import LENGTHS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.score_schemas import scores
from imagenet_think.parsing import PARTS

MODELS = ["model_a", "model_b", "model_c", "model_d", "model_e"]
CLASSES = 10_450
DOMAINS = 21
STRATA = 4
SHARDS = 64
MISSING = 0.02
METRIC = registry.get("vectors")
JOBS = ("aggregate_scores", "compare_models", "aggregate_groups")


def generate(folder: Path, images: int) -> dict[str, list[Path]]:
    """Write scores files, a sample and lengths; return their paths."""
    generator = np.random.default_rng(2510)
    paths: dict[str, list[Path]] = {"scores": [], "sample": [], "lengths": []}

    def write(kind: str, shard: int, frame: pl.DataFrame, schema: pl.Schema) -> None:
        """Write a file; columns that the frame lacks are null."""
        paths[kind].append(folder / f"{kind}-{shard:02}.parquet")
        whole = pl.concat([schema.to_frame(), frame], how="diagonal_relaxed")
        whole.write_parquet(paths[kind][-1], compression="uncompressed")

    for shard in range(SHARDS):
        ids = [f"n{place % CLASSES:08}_{place}" for place in range(shard, images, SHARDS)]
        sample = pl.DataFrame({"image_id": ids}).with_columns(
            pl.col("image_id").str.head(9).alias("wnid"),
            pl.Series("domain", generator.integers(DOMAINS, size=len(ids))).cast(pl.String),
            pl.Series("complexity_stratum", generator.integers(1, STRATA + 1, size=len(ids))),
        )
        write("sample", shard, sample, SAMPLE)
        keys = (
            pl.DataFrame({"image_id": ids})
            .join(pl.DataFrame({"model": MODELS}), how="cross")
            .join(pl.DataFrame({"part": list(PARTS)}), how="cross")
        )
        tokens = pl.Series("tokens", generator.geometric(1 / 900, len(keys)))
        write("lengths", shard, keys.with_columns(tokens), LENGTHS)
        lost = pl.Series("lost", generator.random(len(keys)) < MISSING)
        names = [f"{name}_{k}" for name in METRIC.score_columns for k in (1, 2)]
        numbers = [pl.Series(name, generator.random(len(keys))) for name in names]
        reason = pl.when(lost).then(pl.lit("response")).alias("missing")
        frame = keys.with_columns(reason, *(pl.when(~lost).then(values) for values in numbers))
        write("scores", shard, frame, scores(METRIC))
    return paths


def measure_intervals(images: int, columns: int) -> None:
    """Print the seconds that intervals of means take, for both populations."""
    generator = np.random.default_rng(1)
    values, classes = generator.random((columns, images)), Classes(np.arange(images) % CLASSES)
    print(f"intervals of {columns} means over {images:,} images of {CLASSES:,} classes")
    for population in (FIXED, DRAWN):
        make = partial(margins, values, classes, Intervals(0.95, population))
        taken, _ = timed(make, clock=time.perf_counter)
        print(f"{population}: {taken:.1f} s", flush=True)


def job(
    name: str, paths: Mapping[str, list[Path]], intervals: Intervals
) -> tuple[float, float, float]:
    """Run a script's function; return its seconds, those of the processors, and peak memory."""
    start = time.perf_counter()
    scored = read_scores(METRIC, paths["scores"], MODELS, sample=paths["sample"])
    if name == "aggregate_scores":
        aggregate_scores(scored, intervals)
    elif name == "compare_models":
        compare_models(scored, MODELS, intervals)
    else:
        sample, lengths = (pl.read_parquet(paths[kind]) for kind in ("sample", "lengths"))
        aggregate_groups(scored, sample, lengths, MODELS, intervals)
    return time.perf_counter() - start, time.process_time(), peak()


def main() -> None:
    """Measure the intervals and the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=250_000)
    parser.add_argument("--columns", type=int, default=90)
    arguments = parser.parse_args()
    images = arguments.images
    alone(measure_intervals, images, arguments.columns)
    with tempfile.TemporaryDirectory() as name:
        paths = alone(generate, Path(name), images)
        print()
        print("| job | seconds | of processor time | memory, GiB |")
        print("| --- | ---: | ---: | ---: |", flush=True)
        for job_name in JOBS:
            taken = alone(job, job_name, paths, Intervals(0.95, FIXED))
            print("| {} | {:.1f} | {:.1f} | {:.2f} |".format(job_name, *taken), flush=True)


if __name__ == "__main__":
    main()
