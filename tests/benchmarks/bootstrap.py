"""Benchmark of the intervals, and of the jobs that make them, at the paper's size.

Run as `python tests/benchmarks/bootstrap.py`. First the bootstrap alone: 10,000 resamples of
250,000 images in 90 columns, beside numpy's own Poisson numbers and one matrix product on some of
the images. Then the three jobs of the kind with most metrics on generated scores files of 250,000
images, five models and three parts in 64 shards: seconds, and the greatest memory that each held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

# One thread of linear algebra, so that the workers are all the parallelism there is.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np
import polars as pl

from imagenet_think.analysis.resampling import Intervals, bootstrap
from imagenet_think.core.schemas import LENGTHS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.score_schemas import scores
from imagenet_think.parsing import PARTS

SCRIPTS = Path(__file__).parents[2] / "scripts"
MODELS = ["model_a", "model_b", "model_c", "model_d", "model_e"]
DOMAINS = 21
STRATA = 4
SHARDS = 64
MISSING = 0.02
METRIC = registry.get("vectors")

READ = """
import json, sys
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/analysis"]
import polars as pl
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.resampling import Intervals
from imagenet_think.metrics import registry
paths, settings = json.loads(sys.argv[2])
models, workers = settings["models"], settings["workers"]
intervals = Intervals(**settings["intervals"])
scored = read_scores(registry.get(settings["metric"]), paths["scores"], models)
"""

JOBS = {
    "aggregate_scores": "aggregate_scores(scored, intervals, workers)",
    "compare_models": "compare_models(scored, models, intervals, workers)",
    "aggregate_groups": (
        "aggregate_groups(scored, pl.read_parquet(paths['sample']), "
        "pl.read_parquet(paths['lengths']), models, intervals, workers)"
    ),
}
"""What the jobs run, by the name of the script."""


def generate(folder: Path, images: int, seed: int = 2510) -> dict[str, list[str]]:
    """Write scores files, a sample and lengths; return their paths."""
    generator = np.random.default_rng(seed)
    paths: dict[str, list[str]] = {"scores": [], "sample": [], "lengths": []}
    samples = []
    for shard in range(SHARDS):
        ids = [f"n{place % 10450:08}_{place}" for place in range(shard, images, SHARDS)]
        sample = pl.DataFrame({"image_id": ids}).with_columns(
            pl.lit("n0").alias("wnid"),
            pl.Series("domain", generator.integers(DOMAINS, size=len(ids))).cast(pl.String),
            pl.Series("complexity_stratum", generator.integers(1, STRATA + 1, size=len(ids))),
        )
        empty = [c for c in SAMPLE if c not in sample.columns]
        samples.append(
            sample.with_columns(pl.lit(None, SAMPLE[c]).alias(c) for c in empty).select(
                list(SAMPLE)
            )
        )
        keys = (
            pl.DataFrame({"image_id": ids})
            .join(pl.DataFrame({"model": MODELS}), how="cross")
            .join(pl.DataFrame({"part": list(PARTS)}), how="cross")
        )
        reason = pl.Series("missing", generator.random(len(keys)) < MISSING)
        keys = keys.with_columns(pl.when(reason).then(pl.lit("response")).alias("missing"))
        path = folder / f"{METRIC.name}-{shard:02}.parquet"
        _numbers(keys, generator).write_parquet(path, compression="uncompressed")
        paths["scores"].append(str(path))
        tokens = pl.Series("tokens", generator.geometric(1 / 900, len(keys)))
        lengths = keys.drop("missing").with_columns(
            tokens, tokens.alias("words"), pl.lit(False).alias("non_latin")
        )
        paths["lengths"].append(str(folder / f"lengths-{shard:02}.parquet"))
        lengths.select(list(LENGTHS)).write_parquet(
            paths["lengths"][-1], compression="uncompressed"
        )
    paths["sample"].append(str(folder / "sample.parquet"))
    pl.concat(samples).write_parquet(paths["sample"][0])
    return paths


def _numbers(keys: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    """Return a scores file's rows; a row with a missing text has no number."""
    schema = scores(METRIC)
    names = [name for name in schema if name not in keys.columns]
    numbers = pl.DataFrame({name: generator.random(len(keys)) for name in names})
    present = pl.col("missing").is_null()
    frame = keys.hstack(numbers).with_columns(pl.when(present).then(n).alias(n) for n in names)
    return frame.select(list(schema))


def measure_bootstrap(images: int, columns: int, draws: int, workers: int, some: int) -> None:
    """Print the seconds of the bootstrap, beside numpy's own way on some of the images."""
    values = np.random.default_rng(1).random((columns, images)).T
    start, begun = time.perf_counter(), time.process_time()
    bootstrap(values, Intervals(draws, 0.95, 1), workers)
    ours, processor = time.perf_counter() - start, time.process_time() - begun
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


def measure_job(name: str, paths: object, settings: Mapping[str, object]) -> None:
    """Run a script's function in a new process; print its seconds and greatest memory."""
    arguments = json.dumps([paths, settings])
    code = f"{READ}from {name} import {name}\n{JOBS[name]}"
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, str(SCRIPTS), arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} failed")
    seconds, processor = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    print(
        f"| {name} | {seconds:.1f} | {processor:.1f} | {usage.ru_maxrss / 2**20:.2f} |", flush=True
    )


def main() -> None:
    """Measure the bootstrap and the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=250_000)
    parser.add_argument("--columns", type=int, default=90)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--some", type=int, default=2_000, help="images of numpy's own way")
    arguments = parser.parse_args()
    draws, workers = arguments.draws, arguments.workers
    measure_bootstrap(
        arguments.images, arguments.columns, draws, workers, min(arguments.some, arguments.images)
    )
    settings = {"metric": METRIC.name, "models": MODELS, "workers": workers}
    settings |= {"intervals": {"draws": draws, "level": 0.95, "seed": 1}}
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        paths = generate(Path(name), arguments.images)
        print(f"\nscores files generated in {time.perf_counter() - start:.0f} s\n")
        print("| job | seconds | of processor time | memory, GiB |")
        print("| --- | ---: | ---: | ---: |", flush=True)
        for job in JOBS:
            measure_job(job, paths, settings)


if __name__ == "__main__":
    main()
