"""Benchmark of the intervals, and of the jobs that make them, at the paper's size.

Run as `python tests/benchmarks/bootstrap.py`. First the bootstrap alone: 10,000 resamples of
250,000 images in 90 columns, next to numpy's own Poisson numbers and one matrix product on some of
the images. Then the three jobs of the metric with most measures on generated scores files of
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
from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.core.schemas import LENGTHS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.score_schemas import scores
from imagenet_think.parsing import PARTS

MODELS = ["model_a", "model_b", "model_c", "model_d", "model_e"]
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
        ids = [f"n{place % 10450:08}_{place}" for place in range(shard, images, SHARDS)]
        sample = pl.DataFrame({"image_id": ids}).with_columns(
            pl.lit("n0").alias("wnid"),
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


def measure_bootstrap(images: int, columns: int, draws: int, workers: int, some: int) -> None:
    """Print the seconds of the bootstrap, next to numpy's own way on some of the images."""
    values = np.random.default_rng(1).random((columns, images)).T
    begun = time.process_time()
    make = partial(bootstrap, values, Intervals(draws, 0.95, 1), workers)
    ours, _ = timed(make, clock=time.perf_counter)
    processor = time.process_time() - begun
    generator, sums = np.random.default_rng(1), np.zeros((draws, columns))
    start = time.perf_counter()
    for first in range(0, some, 500):
        block = values[first : first + 500]
        sums += generator.poisson(1.0, (draws, len(block))).astype(np.float64) @ block
    plain = (time.perf_counter() - start) * images / some
    print(f"{draws:,} resamples of {images:,} images in {columns} columns")
    print(f"ours, {workers} threads: {ours:.1f} s ({processor:.1f} s of processor time)")
    print(f"numpy's Poisson numbers and product, one thread: {plain:.0f} s (from {some:,} images)")
    print(f"ratio: {plain / ours:.1f}", flush=True)


def job(
    name: str, paths: Mapping[str, list[Path]], intervals: Intervals, workers: int
) -> tuple[float, float, float]:
    """Run a script's function; return its seconds, those of the processors, and peak memory."""
    start = time.perf_counter()
    scored = read_scores(METRIC, paths["scores"], MODELS)
    if name == "aggregate_scores":
        aggregate_scores(scored, intervals, workers)
    elif name == "compare_models":
        compare_models(scored, MODELS, intervals, workers)
    else:
        sample, lengths = (pl.read_parquet(paths[kind]) for kind in ("sample", "lengths"))
        aggregate_groups(scored, sample, lengths, MODELS, intervals, workers)
    return time.perf_counter() - start, time.process_time(), peak()


def main() -> None:
    """Measure the bootstrap and the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=250_000)
    parser.add_argument("--columns", type=int, default=90)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--some", type=int, default=2_000, help="images of numpy's own way")
    arguments = parser.parse_args()
    images, draws, workers = arguments.images, arguments.draws, arguments.workers
    some = min(arguments.some, images)
    alone(measure_bootstrap, images, arguments.columns, draws, workers, some)
    with tempfile.TemporaryDirectory() as name:
        paths = alone(generate, Path(name), images)
        print()
        print("| job | seconds | of processor time | memory, GiB |")
        print("| --- | ---: | ---: | ---: |", flush=True)
        for job_name in JOBS:
            taken = alone(job, job_name, paths, Intervals(draws, 0.95, 1), workers)
            print("| {} | {:.1f} | {:.1f} | {:.2f} |".format(job_name, *taken), flush=True)


if __name__ == "__main__":
    main()
