"""Benchmark of all jobs that aggregate scores, at the paper's size.

Run as `python tests/benchmarks/aggregate_jobs.py`. Every job of the workflow that aggregates
scores, for each metric, and that of the teachers' agreement, on generated scores files of 250,000
images, seven models and three parts in 64 shards: seconds, and the peak memory of each.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# One thread of linear algebra, so that the workers are all the parallelism there is.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "analysis"))

import numpy as np
import polars as pl
from measuring import alone, peak

from aggregate_agreement import aggregate_agreement
from aggregate_groups import aggregate_groups
from aggregate_scores import aggregate_scores
from compare_models import PART, compare_models
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.populations import FIXED
from imagenet_think.core.schemas import BASELINES, BETWEEN, LENGTHS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.score_schemas import agreement, scores
from imagenet_think.parsing import PARTS

MODELS = [f"model_{letter}" for letter in "abcdefg"]
TEACHERS = ["teacher_1", "teacher_2"]
CLASSES = 10_450
DOMAINS = 21
STRATA = 4
SHARDS = 64
MISSING = 0.02
JOBS = ("aggregate_scores", "compare_models", "aggregate_groups")

Paths = dict[str, list[Path]]


def write(path: Path, frame: pl.DataFrame, schema: pl.Schema) -> Path:
    """Write a file; columns that the frame lacks are null."""
    whole = pl.concat([schema.to_frame(), frame], how="diagonal_relaxed")
    whole.select(list(schema)).write_parquet(path, compression="uncompressed")
    return path


def shards(images: int) -> list[pl.DataFrame]:
    """Return the images of every shard."""
    names = [f"n{place % CLASSES:08}_{place}" for place in range(images)]
    return [pl.DataFrame({"image_id": names[shard::SHARDS]}) for shard in range(SHARDS)]


def generate(folder: Path, images: int) -> Paths:
    """Write a sample and lengths; return their paths."""
    generator = np.random.default_rng(2510)
    paths: Paths = {"sample": [], "lengths": []}
    for shard, ids in enumerate(shards(images)):
        sample = ids.with_columns(
            pl.col("image_id").str.split("_").list.first().alias("wnid"),
            pl.Series("domain", generator.integers(DOMAINS, size=len(ids))).cast(pl.String),
            pl.Series("complexity_stratum", generator.integers(1, STRATA + 1, size=len(ids))),
        )
        paths["sample"].append(write(folder / f"sample-{shard:02}.parquet", sample, SAMPLE))
        keys = crossed(ids, MODELS)
        tokens = pl.Series("tokens", generator.geometric(1 / 900, len(keys)))
        lengths = keys.with_columns(tokens)
        paths["lengths"].append(write(folder / f"lengths-{shard:02}.parquet", lengths, LENGTHS))
    return paths


def crossed(ids: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """Return a row for each image, model and part."""
    frame = ids.join(pl.DataFrame({"model": models}), how="cross")
    return frame.join(pl.DataFrame({"part": list(PARTS)}), how="cross")


def generate_scores(folder: Path, images: int, name: str) -> Paths:
    """Write the files of one metric: of the models' scores, and of the teachers' agreement."""
    metric = registry.get(name)
    generator = np.random.default_rng(2510)
    paths: Paths = {"scores": [], "agreement": []}

    def drawn(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
        """Fill a schema's numbers with random ones, some of which are missing."""
        lost = pl.Series("lost", generator.random(len(frame)) < MISSING)
        numbers = [column for column, kind in schema.items() if kind == pl.Float64]
        values = [pl.Series(column, generator.random(len(frame))) for column in numbers]
        missing = pl.when(lost).then(pl.lit("response")).alias("missing")
        return frame.with_columns(missing, *(pl.when(~lost).then(column) for column in values))

    for shard, ids in enumerate(shards(images)):
        for kind, schema, frame in (
            ("scores", scores(metric), crossed(ids, MODELS)),
            ("agreement", agreement(metric), compared(ids)),
        ):
            path = folder / f"{kind}-{name}-{shard:02}.parquet"
            paths[kind].append(write(path, drawn(frame, schema), schema))
    return paths


def compared(ids: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each comparison of the teachers; every second image has its baselines."""
    between = crossed(ids, TEACHERS[:1]).with_columns(against=pl.lit(BETWEEN))
    baselines = crossed(ids[::2], TEACHERS).join(pl.DataFrame({"against": BASELINES}), how="cross")
    return pl.concat([between, baselines])


def job(name: str, metric: str, paths: Paths, intervals: Intervals) -> tuple[float, float, float]:
    """Run a script's function; return its seconds, those of the processors, and peak memory."""
    start = time.perf_counter()
    parts = [PART] if name == "compare_models" else PARTS
    scored = read_scores(registry.get(metric), paths["scores"], MODELS, parts)
    if name == "aggregate_scores":
        aggregate_scores(scored, intervals)
    elif name == "compare_models":
        compare_models(scored, MODELS, intervals)
    else:
        sample, lengths = (pl.read_parquet(paths[kind]) for kind in ("sample", "lengths"))
        aggregate_groups(scored, sample, lengths, MODELS, intervals)
    return time.perf_counter() - start, time.process_time(), peak()


def agree(
    files: Mapping[str, list[Path]], sample: Path, intervals: Intervals
) -> tuple[float, float, float]:
    """Aggregate the agreement of the teachers; return as `job` does."""
    start = time.perf_counter()
    aggregate_agreement(files, sample, TEACHERS, intervals)
    return time.perf_counter() - start, time.process_time(), peak()


def main() -> None:
    """Measure the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=250_000)
    arguments = parser.parse_args()
    images = arguments.images
    intervals = Intervals(0.95, FIXED)
    total = np.zeros(3)

    def report(name: str, metric: str, taken: tuple[float, float, float]) -> None:
        """Print a row, and add it to the total."""
        total[:] = total[0] + taken[0], total[1] + taken[1], max(total[2], taken[2])
        print("| {} | {} | {:.1f} | {:.1f} | {:.2f} |".format(name, metric, *taken), flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = alone(generate, folder, images)
        whole = folder / "sample.parquet"
        pl.read_parquet(paths["sample"]).write_parquet(whole)
        print("| job | metric | seconds | of processor time | memory, GiB |")
        print("| --- | --- | ---: | ---: | ---: |", flush=True)
        agreements = {}
        for metric in registry.metrics():
            own = alone(generate_scores, folder, images, metric.name)
            for job_name in JOBS:
                taken = alone(job, job_name, metric.name, paths | own, intervals)
                report(job_name, metric.name, taken)
            agreements[metric.name] = own["agreement"]
            for path in own["scores"]:
                path.unlink()
        taken = alone(agree, agreements, whole, intervals)
        report("aggregate_agreement", "all", taken)
        report("all jobs", "all", tuple(total))


if __name__ == "__main__":
    main()
