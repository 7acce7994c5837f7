"""Benchmark of all jobs that aggregate scores, at the paper's size.

Run as `python tests/benchmarks/aggregate_jobs.py`. Every job of the workflow that aggregates
scores, for each metric where it is run for each, and those of tables and figures that read lengths,
mentions or what the metrics can read; none that reads texts (`measure_texts`, `measure_domain`,
`table_language`, `export_numbers`). They run on generated files of 250,000 images and three
parts in 64 shards, with the models of `config/config.yaml`: five that are scored, and two teachers.
Printed are the seconds and the peak memory of each job, and last their sum and their maximum.
Images are of 10,450 classes; 2% of the responses are missing, and as many texts are outside the
metric's domain.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# One thread of linear algebra, so that the workers are all the parallelism there is.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "analysis"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "report"))

import numpy as np
import polars as pl
import yaml
from measuring import alone, peak

from aggregate_agreement import aggregate_agreement
from aggregate_groups import aggregate_groups
from aggregate_scores import aggregate_scores
from compare_models import PART, compare_models
from figure_lengths import draw_lengths, read_lengths
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.domain import read_outside
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.core.schemas import BASELINES, BETWEEN, DOMAIN, LENGTHS, MENTIONS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.domain_limits import REASONS
from imagenet_think.metrics.score_schemas import agreement, scores
from imagenet_think.parsing import PARTS
from imagenet_think.run.configuration import check
from table_datasets import table_datasets
from table_domain import table_domain
from table_mentions import table_mentions

ROOT = Path(__file__).parents[2]
CONFIG = check(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))
MODELS, TEACHERS = CONFIG["benchmarked"], CONFIG["teachers"]
EVERYONE = [*TEACHERS, *MODELS]
INTERVALS = Intervals(**CONFIG["benchmark"]["intervals"])
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
    """Write a sample, lengths and mentions; return their paths."""
    generator = np.random.default_rng(2510)
    paths: Paths = {"sample": [], "lengths": [], "teachers": [], "mentions": []}
    for shard, ids in enumerate(shards(images)):
        sample = ids.with_columns(
            pl.col("image_id").str.split("_").list.first().alias("wnid"),
            pl.Series("domain", generator.integers(DOMAINS, size=len(ids))).cast(pl.String),
            pl.Series("complexity_stratum", generator.integers(1, STRATA + 1, size=len(ids))),
        )
        paths["sample"].append(write(folder / f"sample-{shard:02}.parquet", sample, SAMPLE))
        for models, kind in ((MODELS, "lengths"), (TEACHERS, "teachers")):
            keys = crossed(ids, models)
            tokens = pl.Series("tokens", generator.geometric(1 / 900, len(keys)))
            lengths = keys.with_columns(tokens, non_latin=pl.lit(False), english=pl.lit(True))
            paths[kind].append(write(folder / f"{kind}-{shard:02}.parquet", lengths, LENGTHS))
        answers = ids.join(pl.DataFrame({"model": EVERYONE}), how="cross")
        named = ("synset", "hyponym", "hypernym", "other")
        mentions = answers.with_columns(
            pl.Series(name, generator.random(len(answers)) < 0.5) for name in named
        )
        path = folder / f"mentions-{shard:02}.parquet"
        paths["mentions"].append(write(path, mentions, MENTIONS))
    whole = folder / "sample.parquet"
    pl.read_parquet(paths["sample"]).write_parquet(whole)
    return paths | {"sample": [whole]}


def crossed(ids: pl.DataFrame, models: Sequence[str]) -> pl.DataFrame:
    """Return a row for each image, model and part."""
    frame = ids.join(pl.DataFrame({"model": models}), how="cross")
    return frame.join(pl.DataFrame({"part": list(PARTS)}), how="cross")


def generate_scores(folder: Path, images: int, name: str) -> Paths:
    """Write the files of one metric: scores, agreement of the teachers, and what it can read."""
    metric = registry.get(name)
    generator = np.random.default_rng(2510)
    paths: Paths = {"scores": [], "agreement": [], "domain": []}

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
        texts = crossed(ids, EVERYONE)
        counts = generator.geometric(1 / 900, len(texts))
        strange = pl.Series(generator.random(len(texts)) < MISSING)
        reasons = generator.choice(list(REASONS), len(texts)).tolist()
        texts = texts.with_columns(
            pl.lit(name).alias("metric"),
            *(pl.Series(column, counts) for column in ("tokens", "letters", "in_words")),
            unknown=pl.lit(0),
            outside=pl.when(strange).then(pl.Series(reasons)),
        )
        path = folder / f"domain-{name}-{shard:02}.parquet"
        paths["domain"].append(write(path, texts, DOMAIN))
    return paths


def compared(ids: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each comparison of the teachers; every second image has its baselines."""
    between = crossed(ids, TEACHERS[:1]).with_columns(against=pl.lit(BETWEEN))
    baselines = crossed(ids[::2], TEACHERS).join(pl.DataFrame({"against": BASELINES}), how="cross")
    return pl.concat([between, baselines])


def job(name: str, metric: str, paths: Paths) -> None:
    """Run a script's functions as its `__main__` block does."""
    parts = [PART] if name == "compare_models" else PARTS
    (sample,) = paths["sample"]
    scored = read_scores(registry.get(metric), paths["scores"], MODELS, parts, sample=sample)
    if name == "compare_models":
        compare_models(scored, MODELS, INTERVALS)
        return
    outside = read_outside(paths["domain"], scored.images)
    if name == "aggregate_scores":
        aggregate_scores(scored, INTERVALS, outside=outside, teachers=TEACHERS)
        return
    lengths = pl.read_parquet(paths["lengths"], columns=["image_id", "model", "part", "tokens"])
    columns = ["image_id", "wnid", "domain", "complexity_stratum"]
    images = pl.read_parquet(sample, columns=columns)
    aggregate_groups(scored, images, lengths, MODELS, INTERVALS, outside=outside, teachers=TEACHERS)


def agree(
    agreements: Mapping[str, list[Path]], domain: Mapping[str, list[Path]], sample: Path
) -> None:
    """Aggregate the agreement of the teachers."""
    aggregate_agreement(agreements, sample, TEACHERS, INTERVALS, domain=domain)


def draw(lengths: list[Path]) -> None:
    """Draw the lengths of the teachers' texts."""
    draw_lengths(read_lengths(lengths), CONFIG)


def measured(function: Callable[..., object], *given: object) -> tuple[float, float, float]:
    """Call a function; return seconds, those of the processors, and peak memory in GiB.

    The process is a new one; the time in which it imports libraries is not counted.
    """
    start, processors = time.perf_counter(), time.process_time()
    function(*given)
    return time.perf_counter() - start, time.process_time() - processors, peak()


def main() -> None:
    """Measure the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=250_000)
    arguments = parser.parse_args()
    total = np.zeros(3)

    def report(name: str, metric: str, function: Callable[..., object], *given: object) -> None:
        """Measure a job, print its row, and add it to the total."""
        taken = alone(measured, function, *given)
        total[:] = total[0] + taken[0], total[1] + taken[1], max(total[2], taken[2])
        print("| {} | {} | {:.1f} | {:.1f} | {:.2f} |".format(name, metric, *taken), flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = alone(generate, folder, arguments.images)
        (sample,) = paths["sample"]
        print("| job | metric | seconds | of processor time | memory, GiB |")
        print("| --- | --- | ---: | ---: | ---: |", flush=True)
        agreements, domain = {}, {}
        for metric in registry.metrics():
            own = alone(generate_scores, folder, arguments.images, metric.name)
            for job_name in JOBS:
                report(job_name, metric.name, job, job_name, metric.name, paths | own)
            agreements[metric.name], domain[metric.name] = own["agreement"], own["domain"]
            for path in own["scores"]:
                path.unlink()
        report("aggregate_agreement", "all", agree, agreements, domain, sample)
        everything = [path for files in domain.values() for path in files]
        lengths = paths["lengths"] + paths["teachers"]
        report("table_domain", "all", table_domain, everything, lengths, folder / "domain", CONFIG)
        stem = folder / "mentions"
        report("table_mentions", "", table_mentions, paths["mentions"], sample, stem, CONFIG)
        reported = ROOT / "resources" / "reported.yaml"
        given = [sample, paths["teachers"], [], reported, folder / "table1", CONFIG]
        report("table_datasets", "", table_datasets, *given)
        report("figure_lengths", "", draw, paths["teachers"])
        print("| all jobs | all | {:.1f} | {:.1f} | {:.2f} |".format(*total), flush=True)


if __name__ == "__main__":
    main()
