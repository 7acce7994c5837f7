"""Report what the responses cost: tokens, seconds and hours by model, next to the paper's."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.numbers import whole
from imagenet_think.core.settings import names as printed_names
from imagenet_think.inference import usage
from imagenet_think.report import escaping
from imagenet_think.report.tables import WHOLE, Column, markdown, write_csv

HOURS = {"gpu_hours": usage.GPU, "cpu_hours": usage.CPU, "unknown_hours": usage.UNKNOWN}
"""Columns of hours, and the kind of device of each."""

COLUMNS = [
    Column("model", "Key", printed=False),
    Column("name", "Model"),
    Column("responses", "Responses", format=WHOLE),
    Column("prompt_tokens", "Prompt tokens", format=WHOLE),
    Column("image_tokens", "of these, image tokens", format=WHOLE),
    Column("completion_tokens", "Response tokens", format=WHOLE),
    Column("generated_tokens", "Tokens generated in all", format=WHOLE),
    Column("jobs", "Jobs", format=WHOLE),
    Column("killed_jobs", "Jobs without a record", format=WHOLE),
    Column("seconds", "Seconds", format=",.0f"),
    Column("tokens_per_second", "Tokens per second per device", format=",.1f"),
    Column("gpu_hours", "GPU hours", format=",.2f"),
    Column("cpu_hours", "CPU hours", format=",.4f"),
    Column("unknown_hours", "Hours on an unknown device", format=",.2f"),
    Column("share_used", "Share used", format=".1%"),
    Column("devices", "Devices"),
    Column("unrecorded_responses", "Responses in no journal", printed=False),
]

TOTALS = ("teachers", "paper")
"""Keys of the rows that are compared: this run's teachers, and the paper."""


def cost_of(responses: pl.DataFrame, spending: usage.Usage) -> dict[str, Any]:
    """Return what a model's responses cost: the columns of `COLUMNS` that are sums.

    `responses` are those in use, with the columns image_id, fingerprint and those of `TOKENS`, and
    `spending` is what the model's journals record. Also returned are `device_seconds` and
    `used_seconds`: the part of them in which responses in use were generated, by the tokens
    generated in each job. Dropped attempts and responses to an older prompt are not in use.
    """
    made = usage.first_made(spending.responses, responses).select("image_id", "fingerprint", "run")
    used = _tokens(responses.join(made, on=["image_id", "fingerprint"], how="inner"))
    generated = _tokens(spending.responses)
    device_seconds = {job.run: job.hours * 3600 for job in spending.jobs}
    return {
        "responses": len(responses),
        **{name: responses[name].sum() for name in usage.TOKENS},
        "generated_tokens": spending.responses["completion_tokens"].sum(),
        "jobs": len(spending.jobs),
        "killed_jobs": sum(not job.recorded for job in spending.jobs),
        "seconds": sum(job.seconds for job in spending.jobs),
        **{column: spending.hours(kind) for column, kind in HOURS.items()},
        "devices": ", ".join(sorted({job.device for job in spending.jobs if job.device})),
        "unrecorded_responses": len(responses) - len(made),
        "device_seconds": sum(device_seconds.values()),
        "used_seconds": sum(
            seconds * used[run] / generated[run]
            for run, seconds in device_seconds.items()
            if used.get(run)
        ),
    }


def _tokens(rows: pl.DataFrame) -> dict[str, int]:
    """Return the completion tokens by job."""
    return dict(rows.group_by("run").agg(pl.col("completion_tokens").sum()).iter_rows())


def summarize(
    costs: Mapping[str, Mapping[str, Any]],
    teachers: Sequence[str],
    names: Mapping[str, str],
    paper: Mapping[str, Any],
) -> pl.DataFrame:
    """Return a row per model, for both teachers, all models, and the paper: columns `COLUMNS`.

    `costs` are from `cost_of`, by model in the order to report, and `paper` is from `paper_cost`.
    The teachers, whose hours the paper reports, have a row if this run prompted both.
    """
    rows = [_row(key, names[key], [cost]) for key, cost in costs.items()]
    if set(teachers) <= costs.keys():
        rows.append(_row("teachers", "Both teachers", [costs[key] for key in teachers]))
    if costs:
        rows.append(_row("all", "All models", list(costs.values())))
    rows.append({"model": "paper", "name": "The paper (both teachers)", **paper})
    return pl.DataFrame(rows, schema=[each.name for each in COLUMNS], infer_schema_length=None)


def _row(key: str, name: str, costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of some costs with its ratios; null where no job is known."""
    row: dict[str, Any] = {
        column: sum(cost[column] for cost in costs) for column in costs[0] if column != "devices"
    }
    devices = {device for cost in costs for device in cost["devices"].split(", ") if device}
    seconds = row["device_seconds"]
    # No hours for a kind of device that was not used, nor without journals.
    row |= {column: row[column] or None for column in ("seconds", *HOURS)}
    return row | {
        "model": key,
        "name": name,
        "devices": ", ".join(sorted(devices)),
        "tokens_per_second": row["generated_tokens"] / seconds if seconds else None,
        "share_used": row["used_seconds"] / seconds if seconds else None,
    }


def page(table: pl.DataFrame, run: str) -> str:
    """Return the table as Markdown, with what its columns mean and what is missing."""
    title = f"# Cost of the run {escaping.markdown(run)}\n\n"
    if "all" not in table["model"]:
        return title + "No model was prompted: all responses were imported.\n"
    caption = (
        "Tokens are those of the responses in use; prompt tokens include the image's. Tokens "
        "generated in all include dropped attempts and responses no longer in use. A job's seconds "
        "run from its start to its end, with loading the model and its canary; a job counts one "
        "device unless its record says more. Share used is the part of the hours in which "
        "responses in use were generated, by tokens. The paper's row: pairs and hours as it "
        "reports them, tokens from its Table 1 (images times mean tokens per sample), speed from "
        "both."
    )
    hidden = [name for name in ("cpu_hours", "unknown_hours") if not table[name].sum()]
    columns = [column for column in COLUMNS if column.name not in hidden]
    notes = "".join(f"- {note}\n" for note in _notes(table))
    return title + markdown(table, columns, caption) + (f"\n{notes}" if notes else "")


def _notes(table: pl.DataFrame) -> Iterator[str]:
    """Yield notes on the table."""
    models = table.filter(~pl.col("model").is_in(["all", *TOTALS]))
    for row in models.iter_rows(named=True):
        name = escaping.markdown(row["name"])
        if row["killed_jobs"]:
            yield (
                f"{name}: {row['killed_jobs']:,} of {row['jobs']:,} jobs ended without a record "
                "(killed). They are counted up to their last response, slightly less than they "
                "took, and on the kind of device of the other jobs. A job that was killed before "
                "its first response left no trace."
            )
        if row["unrecorded_responses"]:
            yield (
                f"{name}: {row['unrecorded_responses']:,} of {row['responses']:,} responses are in "
                "no journal; their cost is unknown and not in the table."
            )
    totals = {row["model"]: row for row in table.iter_rows(named=True) if row["model"] in TOTALS}
    ours, paper = totals.get("teachers"), totals["paper"]
    others = ("cpu_hours", "unknown_hours", "unrecorded_responses")
    if ours and ours["gpu_hours"] and ours["responses"] and not any(ours[name] for name in others):
        hours = ours["gpu_hours"] / ours["responses"] * paper["responses"]
        yield (
            f"At this run's GPU hours per response of both teachers, the paper's "
            f"{paper['responses']:,} would take {whole(hours)}, not {whole(paper['gpu_hours'])}."
        )
    if table["cpu_hours"].sum():
        yield "Hours on CPUs are not GPU hours: do not compare them with the paper's."


def cost(
    responses: list[str],
    journals: str | Path,
    reported: str | Path,
    stem: str | Path,
    settings: Mapping[str, Any],
) -> None:
    """Write `<stem>.csv` and `<stem>.md`.

    `responses` are all shards (schema `RESPONSES`) of the models that this run prompted; `journals`
    has a folder for each of them. `reported` is what the paper reports (YAML). `settings` are the
    keys that the rule reads.
    """
    names = printed_names(settings)
    columns = ("image_id", "model", "fingerprint", *usage.TOKENS)
    rows = pl.scan_parquet(responses).select(columns).collect() if names else pl.DataFrame()
    costs = {}
    for model in names:
        own = rows.filter(pl.col("model") == model)
        costs[model] = cost_of(own, usage.read_usage(Path(journals) / model))
        logger.info("%s: %s", model, costs[model])
    paper = usage.paper_cost(yaml.safe_load(Path(reported).read_text(encoding="utf-8")))
    table = summarize(costs, settings["teachers"], names, paper)
    write_csv(table, COLUMNS, f"{stem}.csv")
    write_text(page(table, settings["run"]), f"{stem}.md")


if __name__ == "__main__":
    snakemake = start_job()
    cost(
        list(snakemake.input.responses),
        snakemake.params.journals,
        snakemake.input.reported,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
    )
