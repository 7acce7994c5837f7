"""Estimate from a pilot how long the whole run takes, next to the paper's hours."""

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from imagenet_think.analysis.intervals import Classes, Intervals, classes_of, margins, shares
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import names as printed_names
from imagenet_think.inference import usage
from imagenet_think.parsing import parse, statuses
from imagenet_think.parsing.outcomes import EXCLUSIONS, FAILURES, reason
from imagenet_think.report import escaping, table_captions
from imagenet_think.report.tables import WHOLE, Column, markdown, write_csv

PAPER = "paper"
"""Key of the row of the paper's run."""

MODEL = Column("name", "Model")

MEASURED = [
    Column("images", "Images", format=WHOLE),
    Column("tokens", "Tokens per response: mean", format=",.0f", interval=True),
    Column("tokens_median", "median", format=",.1f"),
    Column("tokens_p95", "95th percentile", format=",.0f"),
    Column("prompt_tokens", "Prompt tokens, mean", format=",.0f"),
    Column("tokens_per_second", "Tokens per second", format=",.1f"),
    Column("rows_in_use", "Rows in use", format=".0%"),
    Column("loading_seconds", "Loading in seconds", format=",.0f"),
    Column("devices", "Device"),
    Column("jobs", "Jobs", format=WHOLE, printed=False),
    Column("killed_jobs", "Jobs without a record", format=WHOLE, printed=False),
    Column("job_responses", "Responses of these jobs", format=WHOLE, printed=False),
]

ENDS = [
    Column(name, name.replace("_", " ").capitalize(), format=".1%", interval=True)
    for name in ("not_done", *FAILURES, *EXCLUSIONS)
]

ESTIMATED = [
    Column("hours", "{kind} hours at the pilot's speed", interval=True),
    Column("hours_all_rows", "{kind} hours with all rows in use"),
    Column("wall_hours", "Wall time in hours, at the pilot's speed", interval=True),
]


@dataclass(frozen=True)
class Pilot:
    """What one model did in the pilot.

    `answers` has one row per image, by image_id: columns image_id, reason (`parsing.outcomes`),
    prompt_tokens, completion_tokens and `spent`, the tokens that were generated for it with dropped
    attempts (null where the journal has none). `spending` are the jobs that generated these
    responses, with everything they generated.
    """

    answers: pl.DataFrame
    spending: usage.Usage

    @property
    def generated(self) -> int:
        """Tokens that the jobs generated."""
        return int(self.spending.responses["completion_tokens"].sum())

    @property
    def loading_seconds(self) -> float:
        """Mean seconds of a job until the model is loaded and its canary has passed; 0 if unknown.

        All the time of a job that was killed counts as spent on responses.
        """
        known = [job.loading_seconds for job in self.spending.jobs if job.recorded]
        return sum(known) / len(known) if known else 0.0

    @property
    def busy_seconds(self) -> float:
        """Device seconds that the jobs spent on responses."""
        return sum(job.hours * 3600 - job.loading_seconds for job in self.spending.jobs)

    @property
    def decoding(self) -> tuple[float, float] | None:
        """Seconds of decoding and the mean share of rows in use, after loading and canary.

        None if the engine of a job does not record them.
        """
        try:
            seconds, rows, places = (
                sum(
                    job.record["statistics"][name] - job.record["ready_statistics"][name]
                    for job in self.spending.jobs
                )
                for name in ("decode_seconds", "row_steps", "places")
            )
        except KeyError:
            return None
        return (seconds, rows / places) if places else None

    def image_seconds(self, all_rows: bool = False) -> np.ndarray:
        """Return the seconds for each image without loading, shape (images,); NaN if unknown.

        The jobs' time is divided by the tokens generated in it, with dropped attempts. With
        `all_rows`, decoding steps count only by their share of rows in use, as if all rows were
        always in use and a step took no longer.
        """
        seconds = self.busy_seconds if self.generated else math.nan
        if all_rows:
            decoding, in_use = self.decoding or (math.nan, math.nan)
            seconds -= decoding * (1 - in_use)
        spent = self.answers["spent"].cast(pl.Float64).to_numpy()
        return spent * (seconds / max(self.generated, 1))

    def tokens(self) -> np.ndarray:
        """Return the tokens of each response, shape (images,); NaN without a response."""
        excluded = pl.col("reason").is_in(list(EXCLUSIONS))
        tokens = self.answers.select(pl.when(~excluded).then("completion_tokens")).to_series()
        return tokens.cast(pl.Float64).to_numpy()


def read_pilot(responses: str | Path, journals: str | Path, output_format: str) -> Pilot:
    """Read a model's pilot: its responses (schema `RESPONSES`) and the folder of its journals."""
    frame = pl.read_parquet(responses)
    reasons = [
        reason(parse(output_format, text, finish_reason).status, error)
        for text, finish_reason, error in frame.select("text", "finish_reason", "error").iter_rows()
    ]
    spending = usage.read_usage(journals)
    spent = usage.first_made(spending.responses, frame).select(
        "image_id", pl.col("completion_tokens").alias("spent")
    )
    answers = (
        frame.select("image_id", "prompt_tokens", "completion_tokens")
        .with_columns(pl.Series("reason", reasons, pl.String))
        .join(spent, on="image_id", how="left")
        .sort("image_id")
    )
    return Pilot(answers, spending.of(frame))


def list_schedule(hours: Iterable[float], machines: int) -> float:
    """Return when the last job ends if each in turn goes to the first free machine."""
    free = [0.0] * machines
    for job in hours:
        heapq.heapreplace(free, free[0] + job)
    return max(free)


def estimate(
    pilots: Mapping[str, Pilot],
    blocks: Mapping[str, Sequence[int]],
    gpus: int,
    teachers: Sequence[str],
    sample: pl.DataFrame,
    intervals: Intervals,
) -> list[dict[str, Any]]:
    """Return the measurements, and how long the run takes: one row per model, and for all.

    Parameters
    ----------
    pilots
        By model, in the order to report.
    blocks
        By model, the number of images in each block: one job of the run per model and block.
    gpus
        Jobs that run in parallel.
    teachers
        Keys of the teachers. They get a row together if both are among the models.
    sample
        Columns image_id and wnid.
    intervals
        How intervals are made.

    Returns
    -------
    list of dict
        model and the columns of `MEASURED`, `ENDS` and `ESTIMATED`, with their intervals. Unknown
        values are left out or NaN.

    Raises
    ------
    ValueError
        If the models were prompted with different images, or with none.
    """
    first, *others = pilots
    if not len(pilots[first].answers):
        raise ValueError(
            "the first block has no image that all models are prompted with, so there is no pilot: "
            "use fewer blocks, or more images (benchmark.images)"
        )
    for other in others:
        ids = [pilots[model].answers["image_id"] for model in (first, other)]
        if not ids[0].equals(ids[1]):
            raise ValueError(
                f"the pilots of {first} and {other} have different images: delete the run's "
                "folder pilot/ and run again; what is in the journal is not generated again"
            )
    combined = {model: [model] for model in pilots}
    if set(teachers) <= pilots.keys():
        combined["teachers"] = list(teachers)
    combined["all"] = list(pilots)
    tokens = {model: pilot.tokens() for model, pilot in pilots.items()}
    seconds = {
        key: np.sum([sum(blocks[m]) * pilots[m].image_seconds() for m in models], axis=0)
        for key, models in combined.items()
    }
    classes = classes_of(pilots[first].answers["image_id"], sample)
    values = np.stack([*tokens.values(), *seconds.values()])
    middle = np.array([_mean(row) for row in values])
    ends = middle[:, None] + margins(values, classes, intervals)[:, None] * [-1, 1]
    rows: list[dict[str, Any]] = []
    for key, models in combined.items():
        row: dict[str, Any] = {"model": key}
        if key in pilots:
            row |= _measured(pilots[key], classes, intervals)
            row |= _interval("tokens", ends[len(rows)])
        own = [(pilots[model], blocks[model]) for model in models]
        row |= _whole(own, seconds[key], ends[len(tokens) + len(rows)], gpus)
        rows.append(row)
    return rows


def _measured(pilot: Pilot, classes: Classes, intervals: Intervals) -> dict[str, Any]:
    """Return what was measured for one model, without the interval of its tokens."""
    tokens = pl.Series(pilot.tokens()).drop_nans()
    jobs = pilot.spending.jobs
    row: dict[str, Any] = {
        "images": len(pilot.answers),
        "tokens": tokens.mean(),
        "tokens_median": tokens.median(),
        "tokens_p95": tokens.quantile(0.95, "linear"),
        "prompt_tokens": pilot.answers.filter(pl.col("prompt_tokens") > 0)["prompt_tokens"].mean(),
        "tokens_per_second": pilot.generated / pilot.busy_seconds if jobs else None,
        "loading_seconds": pilot.loading_seconds if jobs else None,
        "rows_in_use": pilot.decoding and pilot.decoding[1],
        "jobs": len(jobs),
        "killed_jobs": sum(not job.recorded for job in jobs),
        "job_responses": len(pilot.spending.responses),
        "devices": ", ".join(sorted({job.device or "not recorded" for job in jobs})),
    }
    reasons = pilot.answers["reason"].to_numpy()
    ended = np.stack([reasons == column.name for column in ENDS]).astype(float)
    ended[0] = reasons != statuses.OK  # not done, for any of the reasons
    found = shares(ended, np.ones_like(ended), classes, intervals)
    for column, *values in zip(ENDS, *map(np.ndarray.tolist, found), strict=True):
        row |= dict(zip(column.names, values, strict=True))
    return row


def _whole(
    pilots: Sequence[tuple[Pilot, Sequence[int]]], seconds: np.ndarray, ends: np.ndarray, gpus: int
) -> dict[str, float]:
    """Return how long the run takes for some models together.

    `pilots` are theirs, with the images of each block. `seconds`, shape (images,), is how long they
    take for all images if each takes as long as this one, and `ends` the interval of its mean.
    """
    loading = sum(len(blocks) * pilot.loading_seconds for pilot, blocks in pilots)
    jobs = [
        (block * _mean(pilot.image_seconds()) + pilot.loading_seconds) / 3600
        for pilot, blocks in pilots
        for block in blocks
    ]
    full = [sum(blocks) * pilot.image_seconds(all_rows=True) for pilot, blocks in pilots]
    hours, hours_all_rows = (
        (_mean(each) + loading) / 3600 for each in (seconds, np.sum(full, axis=0))
    )
    wall, hours_ends = list_schedule(jobs, gpus), (ends + loading) / 3600
    return {
        "hours": hours,
        "hours_all_rows": hours_all_rows,
        "wall_hours": wall,
        **_interval("hours", hours_ends),
        **_interval("wall_hours", hours_ends * wall / hours),
    }


def _interval(name: str, ends: np.ndarray) -> dict[str, float]:
    return dict(zip((f"{name}_low", f"{name}_high"), ends.tolist(), strict=True))


def _mean(values: np.ndarray) -> float:
    """Return the mean of known values; NaN if there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else math.nan


def page(
    table: pl.DataFrame,
    settings: Mapping[str, Any],
    names: Mapping[str, str],
    blocks: Mapping[str, Sequence[int]],
) -> str:
    """Return the pilot as Markdown: the table of `estimate` with the paper's row, and notes."""
    gpus = settings["pilot"]["gpus"]
    named = table.with_columns(pl.col("model").replace_strict(names).alias("name"))
    models = named.filter(pl.col("images").is_not_null())
    occurred = [column for column in ENDS if models[column.name].sum()]
    kinds = {
        usage.kind_of(device) for row in models["devices"] for device in row.split(", ") if device
    }
    kind = next((kind for kind in (usage.GPU, usage.CPU) if kinds == {kind}), "Device")
    few = named.filter((pl.col("model") != PAPER) & (pl.col("hours") >= 1)).is_empty()
    places = ",.4g" if few else ",.1f"
    estimated = [
        replace(column, heading=column.heading.format(kind=kind), format=places)
        for column in ESTIMATED
    ]
    parts = [
        f"# Pilot of the run {escaping.markdown(settings['run'])}\n",
        markdown(
            models,
            [MODEL, *MEASURED],
            "Each model described the same images, spread evenly over the first block. Their "
            "responses stay in the journal: the run does not generate them again. Tokens are those "
            "of the responses that were kept. Tokens per second count everything that the jobs "
            "behind these responses generated, without the time for loading the model and for its "
            f"canary (a separate column). {table_captions.intervals(settings['benchmark'])}",
        ),
        "## Responses that are not done\n",
        markdown(
            models,
            [MODEL, *occurred],
            "Shares of the images by the reasons of the accounting, with such intervals. Reasons "
            "that are left out did not occur.",
        )
        if occurred
        else "All follow their model's format.\n",
        "## How long the whole run takes\n",
        markdown(
            named,
            [MODEL, *estimated],
            f"{_images(blocks, names)} The wall time is with {gpus} jobs in parallel, each on a "
            "device like the pilot's; time in a queue is not counted.",
        ),
        "".join(f"- {note}\n" for note in _notes(models, kind)),
    ]
    return "\n".join(parts)


def _notes(models: pl.DataFrame, kind: str) -> Iterator[str]:
    """Yield notes on the estimate."""
    yield (
        "Hours at the pilot's speed are an upper bound. A pilot is short: its batch fills and "
        "empties, and rarely has all its rows in use. Loading and canary are counted once per job "
        "if the pilot's jobs recorded how long they took, and otherwise as part of the speed."
    )
    if models["hours_all_rows"].count():
        yield (
            "Hours with all rows in use are a lower bound: decoding steps count only by their "
            "share of rows in use, as if a step took no longer with more. The more images a pilot "
            "has per row of the batch (pilot.images, inference.batch_size), the closer the two "
            "bounds are."
        )
    yield (
        "The intervals cover only the number of tokens (as other images would have given), not the "
        "speed. Those of the wall time are proportional."
    )
    for row in models.iter_rows(named=True):
        name, jobs = escaping.markdown(row["name"]), _jobs(row["jobs"])
        if row["job_responses"] > row["images"]:
            yield (
                f"{name}: {row['job_responses']:,} responses in {jobs}. Some of the pilot's were "
                "in the journal already, so the speed is that of all the responses of these jobs."
            )
        if not row["jobs"]:
            yield f"{name}: these responses are in no journal; the speed is unknown."
        if row["killed_jobs"]:
            yield (
                f"{name}: {row['killed_jobs']:,} of {jobs} ended without a record (killed), and "
                "count up to their last response."
            )
    if kind != usage.GPU:
        yield f"{kind} hours are not GPU hours: do not compare them with the paper's."


def _images(blocks: Mapping[str, Sequence[int]], names: Mapping[str, str]) -> str:
    """Return how many images there are, by model if they differ."""
    kinds: dict[tuple[int, int], list[str]] = {}
    for model, own in blocks.items():
        kinds.setdefault((sum(own), len(own)), []).append(names[model])
    sentences = []
    for (images, jobs), models in kinds.items():
        whom = "model" if len(kinds) == 1 else f"of {escaping.markdown(', '.join(models))}"
        sentences.append(
            f"For {images:,} images, described by each {whom} in {_jobs(jobs)} (one per block)."
        )
    return " ".join(sentences)


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


def pilot(
    responses: Sequence[str | Path],
    sample: str | Path,
    evaluated: str | Path,
    journals: str | Path,
    reported: str | Path,
    stem: str | Path,
    settings: Mapping[str, Any],
) -> None:
    """Write `<stem>.csv` and `<stem>.md`.

    `responses` are the pilot's, one file (schema `RESPONSES`) per model in the order to report;
    `journals` has a folder for each. In the whole run, teachers describe the images of `sample`,
    other models those of `evaluated`. `reported` is what the paper reports (YAML). `settings` are
    the keys that the rule reads.
    """
    names, teachers = printed_names(settings), settings["teachers"]
    intervals = Intervals(**settings["benchmark"]["intervals"])
    pilots = {
        model: read_pilot(file, Path(journals) / model, settings["models"][model]["output"])
        for model, file in zip(names, responses, strict=True)
    }
    everything, some = (
        pl.read_parquet(path, columns=["shard"])["shard"]
        .str.head(1)
        .value_counts()
        .sort("shard")["count"]
        .to_list()
        for path in (sample, evaluated)
    )
    blocks = {model: everything if model in teachers else some for model in names}
    images = pl.read_parquet(sample, columns=["image_id", "wnid"])
    rows = estimate(pilots, blocks, settings["pilot"]["gpus"], teachers, images, intervals)
    paper = usage.paper_cost(yaml.safe_load(Path(reported).read_text(encoding="utf-8")))
    hours = {"tokens_per_second": paper["tokens_per_second"], "hours": paper["gpu_hours"]}
    columns = [Column("model", "Model"), *MEASURED, *ENDS, *ESTIMATED]
    table = pl.DataFrame(
        [*rows, {"model": PAPER, **hours}],
        schema=[name for column in columns for name in column.names],
        infer_schema_length=None,
    ).fill_nan(None)
    for model, hours in table.select("model", "hours").iter_rows():
        logger.info("%s: %s hours", model, hours)
    write_csv(table, columns, f"{stem}.csv")
    printed = dict(names) | {"teachers": "Both teachers", "all": "All models"}
    printed[PAPER] = f"The paper: {paper['responses']:,} responses of both teachers, A100"
    write_text(page(table, settings, printed, blocks), f"{stem}.md")


if __name__ == "__main__":
    snakemake = start_job()
    pilot(
        snakemake.input.responses,
        *(snakemake.input.sample, snakemake.input.evaluated),
        snakemake.params.journals,
        snakemake.input.reported,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
    )
