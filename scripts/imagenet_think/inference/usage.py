"""Usage: the jobs and tokens that a model's journals record.

A job writes a record when it ends, also when it fails. A killed job writes none; its usage is then
known from its responses, each of which has its job and the seconds since the job began. A job may
write to the journals of several shards, and its record may be in any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.inference.journal import files as journals
from imagenet_think.inference.journal import read_lines

GPU, CPU, UNKNOWN = "GPU", "CPU", "unknown"

TOKENS = ("prompt_tokens", "image_tokens", "completion_tokens")
"""Numbers of tokens; those of the image are part of those of the prompt."""

SPENT = pl.Schema(
    {"image_id": pl.String, "fingerprint": pl.String, "run": pl.String}
    | dict.fromkeys(TOKENS, pl.Int64)
)


@dataclass(frozen=True)
class RecordedJob:
    """One job that generated responses: its name `run`, its record (empty if it was killed).

    `seconds` is its duration; for a killed job until its last response, so slightly too short.
    """

    run: str
    record: dict
    seconds: float

    @property
    def recorded(self) -> bool:
        """Whether it recorded its duration."""
        return "seconds" in self.record

    @property
    def device(self) -> str | None:
        """Name of the GPU, or `cpu`; None if unknown."""
        return self.record.get("device")

    @property
    def hours(self) -> float:
        """Device hours: of one device, unless its record says more."""
        return self.seconds / 3600 * self.devices

    @property
    def loading_seconds(self) -> float:
        """Device seconds until the model was loaded and its canary passed; 0 if unknown."""
        return self.record.get("ready_seconds", 0.0) * self.devices

    @property
    def devices(self) -> int:
        """Number of devices it used."""
        return self.record.get("devices") or 1


@dataclass(frozen=True)
class Usage:
    """All that a model's journals record.

    `jobs` are in the order in which they began. `responses` (schema `SPENT`) has one row for each
    response ever finished, in the journals' order, with the tokens of all its attempts, including
    dropped ones.
    """

    jobs: list[RecordedJob]
    responses: pl.DataFrame

    @cached_property
    def kind(self) -> str:
        """Kind of device of all recorded jobs, assumed for killed jobs; unknown if they differ."""
        kinds = {kind_of(job.device) for job in self.jobs if job.device}
        return kinds.pop() if len(kinds) == 1 else UNKNOWN

    def hours(self, kind: str) -> float:
        """Return the hours on a kind of device."""
        return sum(
            job.hours
            for job in self.jobs
            if (kind_of(job.device) if job.device else self.kind) == kind
        )

    def of(self, keys: pl.DataFrame) -> "Usage":
        """Return the jobs that generated some responses, with everything those jobs generated.

        `keys` has columns image_id and fingerprint.
        """
        runs = set(first_made(self.responses, keys)["run"])
        return Usage(
            [job for job in self.jobs if job.run in runs],
            self.responses.filter(pl.col("run").is_in(sorted(runs))),
        )


def read_usage(folder: str | Path) -> Usage:
    """Read the journals in a model's folder, which need not exist; its jobs may be running."""
    records: dict[str, dict] = {}
    last: dict[str, float] = {}
    rows = []
    for line in chain.from_iterable(map(read_lines, journals(folder))):
        run = line.get("run") or ""
        known = records.setdefault(run, {})
        if line["kind"] == "run":
            known |= line
        else:
            last[run] = max(last.get(run, 0.0), line.get("at", 0.0))
            row = line["row"]
            tokens = row | line.get("spent", {})
            rows.append([row["image_id"], row["fingerprint"], run, *map(tokens.get, TOKENS)])
    jobs = [
        RecordedJob(run, record, max(record.get("seconds", 0.0), last.get(run, 0.0)))
        for run, record in sorted(records.items())
        if run
    ]
    responses = pl.DataFrame(rows, schema=SPENT, orient="row")
    # If the shards have changed, a line is in two journals.
    return Usage(
        jobs,
        responses.unique(["image_id", "fingerprint", "run"], keep="first", maintain_order=True),
    )


def first_made(responses: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return for each of `keys` its first row in `responses` (schema `SPENT`)."""
    key = ["image_id", "fingerprint"]
    return responses.join(keys.select(key), on=key, how="semi").unique(
        key, keep="first", maintain_order=True
    )


def kind_of(device: str) -> str:
    """Return the kind of a named device; that of a server, named by its URL, is unknown."""
    if "://" in device or device == "auto":
        return UNKNOWN
    return CPU if device.lower().startswith("cpu") else GPU


def paper_cost(reported: Mapping) -> dict[str, Any]:
    """Return the cost of the paper's responses, as far as `resources/reported.yaml` has it.

    Pairs and GPU hours are from its text (section 3.2: "over 6000"), tokens from the last row of
    its Table 1, by an unnamed tokenizer and without dropped attempts. The speed is of one GPU.
    """
    text, dataset = reported["text"], reported["table1"][-1]
    tokens, hours = dataset["images"] * dataset["mean"], float(text["gpu_hours_a100"])
    return {
        "responses": text["pairs"],
        "completion_tokens": tokens,
        "gpu_hours": hours,
        "tokens_per_second": tokens / (hours * 3600),
        "devices": "A100",
    }
