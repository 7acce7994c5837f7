"""Account for every image and model: done, failed for a named reason, or excluded."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger, some
from imagenet_think.core.numbers import as_text
from imagenet_think.core.settings import in_order
from imagenet_think.core.settings import names as printed_names
from imagenet_think.parsing import FINISHED, statuses
from imagenet_think.parsing.outcomes import (
    DONE,
    EXCLUDED,
    EXCLUSIONS,
    FAILED,
    FAILURES,
    STATUSES,
    reason,
)
from imagenet_think.report import escaping
from imagenet_think.report.tables import WHOLE, Column, markdown, write_csv

RESPONSE = [
    *("image_id", "model", "revision", "prompt_id", "finish_reason", "rounds", "forced"),
    *("attempt", "fingerprint", "error"),
]
ANNOTATION = ["image_id", "model", "status"]
"""Columns that are read."""

REASONS = {
    **{f"{FAILED}_{name}": meaning for name, meaning in FAILURES.items()},
    **{f"{EXCLUDED}_{name}": meaning for name, meaning in EXCLUSIONS.items()},
}
"""Columns that count the reasons, and what these mean."""

FORMAT = [name for name in FAILURES if name not in statuses.UNFINISHED]
"""Failures of a text that ended by itself, but breaks its model's format."""

WARN_ABOVE = 0.5
"""Share of finished texts that break their format, above which the page warns."""

COUNTS = [
    Column("asked", "Asked", format=WHOLE),
    Column(DONE, "Done", format=WHOLE),
    Column(FAILED, "Failed", format=WHOLE),
    Column(EXCLUDED, "Excluded", format=WHOLE),
    Column("share_done", "Share done", format=".2%"),
    Column("share_broken", "Broken format", format=".2%"),
    Column("retried", "Retried", format=WHOLE),
    Column("forced", "Forced", format=WHOLE),
    Column("two_rounds", "Two rounds", format=WHOLE),
]


class AccountError(ValueError):
    """Images, responses and annotations do not add up; the message says where."""


def account(
    asked: Mapping[str, pl.Series], responses: pl.DataFrame, annotations: pl.DataFrame
) -> pl.DataFrame:
    """Return how each image ended with each model: one row per model and image.

    Parameters
    ----------
    asked
        The image_ids that each model is prompted with, by its key.
    responses, annotations
        Rows of all models, with the columns `RESPONSE` and `ANNOTATION`. Both are in the result,
        with `reason` (`ok`, one of `FAILURES` or one of `EXCLUSIONS`).

    Raises
    ------
    AccountError
        If an image does not have exactly one response and one annotation from each model that is
        prompted with it, if there are others, if a response and its annotation contradict each
        other, or if a model's rows are of more than one revision or prompt.
    """
    problems = []
    for what, frame in (("responses", responses), ("annotations", annotations)):
        for model in sorted(set(frame["model"]) - asked.keys()):
            problems.append(f"{model}: it has {what}, but is not a model of this run")
    for model, images in asked.items():
        own = (frame.filter(pl.col("model") == model) for frame in (responses, annotations))
        problems += [
            f"{model}: {_images(wrong)} {what}" for wrong, what in _problems(images, *own) if wrong
        ]
    if problems:
        raise AccountError(
            "not every image is accounted for:\n  " + "\n  ".join(problems) + "\nDelete the files "
            "of these models in responses/ and annotations/ and run again: what is in the journal "
            "is not generated again."
        )
    both = responses.join(annotations, on=["image_id", "model"], how="inner")
    reasons = [reason(*row) for row in both.select("status", "error").iter_rows()]
    return both.with_columns(pl.Series("reason", reasons, pl.String))


def _problems(
    images: pl.Series, responses: pl.DataFrame, annotations: pl.DataFrame
) -> Iterator[tuple[Collection[str], str]]:
    """Yield what may be wrong with a model's rows, and the images with which it is wrong."""
    asked = set(images)
    yield _repeated(images), "more than once in the sample"
    for what, frame in (("response", responses), ("annotation", annotations)):
        found = set(frame["image_id"])
        yield asked - found, f"without {what}"
        yield found - asked, f"with a {what}, but not in the sample"
        yield _repeated(frame["image_id"]), f"with more than one {what}"
    for frame, column, known in (
        (responses, "finish_reason", FINISHED),
        (annotations, "status", STATUSES),
    ):
        inside = pl.col(column).is_in(list(known)).fill_null(False)
        yield _where(frame, ~inside), f"whose {column} is none of {', '.join(known)}"
    for column in ("revision", "prompt_id"):
        most = pl.col(column).mode(maintain_order=True).first()
        yield _where(responses, pl.col(column).ne_missing(most)), f"with another {column} than most"
    yield _where(responses, pl.col("fingerprint").is_null()), "without fingerprint"
    keyed = responses.drop_nulls("fingerprint").unique("image_id")
    shared = pl.col("fingerprint").is_duplicated()
    yield _where(keyed, shared), "with the fingerprint of another image"
    # The finish reason decides the status of a response that did not stop by itself.
    ends = [status for status in FINISHED.values() if status != statuses.OK]
    status = pl.when(pl.col("status").is_in(ends)).then("status").otherwise(pl.lit(statuses.OK))
    expected = pl.col("finish_reason").replace_strict(FINISHED, default=None)
    both = responses.join(annotations, on="image_id", how="inner")
    yield _where(both, status != expected), "whose annotation contradicts the response"


def _where(frame: pl.DataFrame, condition: pl.Expr) -> set[str]:
    return set(frame.filter(condition)["image_id"])


def _repeated(images: pl.Series) -> set[str]:
    return set(images.filter(images.is_duplicated()))


def _images(images: Collection[str]) -> str:
    """Count images and name the first few: `2 images (a, b)`."""
    return f"{len(images):,} image{'' if len(images) == 1 else 's'} ({some(sorted(images))})"


def count(ledger: pl.DataFrame, asked: Mapping[str, int]) -> pl.DataFrame:
    """Return how the images in a ledger (from `account`) ended: one row per model.

    `asked` is the number of images that each model is prompted with, in the order to report. The
    columns are model, those of `COUNTS` and those of `REASONS`; retried, forced and two_rounds
    count all responses, whatever their status.

    Raises
    ------
    AccountError
        If asked is not done + failed + excluded for every model.
    """
    rows = []
    for model, images in asked.items():
        own = ledger.filter(pl.col("model") == model)
        found = dict(own["reason"].value_counts().iter_rows())
        done = found.get(statuses.OK, 0)
        failed = {f"{FAILED}_{name}": found.get(name, 0) for name in FAILURES}
        excluded = {f"{EXCLUDED}_{name}": found.get(name, 0) for name in EXCLUSIONS}
        broken = sum(found.get(name, 0) for name in FORMAT)
        row: dict[str, object] = {
            "model": model,
            "asked": images,
            DONE: done,
            FAILED: sum(failed.values()),
            EXCLUDED: sum(excluded.values()),
            "share_done": done / images if images else None,
            "share_broken": broken / (done + broken) if done + broken else None,
            "retried": (own["attempt"] > 1).sum(),
            "forced": own["forced"].sum(),
            "two_rounds": (own["rounds"] > 1).sum(),
            **failed,
            **excluded,
        }
        if done + sum(failed.values()) + sum(excluded.values()) != images:
            raise AccountError(f"{row} do not add up: done + failed + excluded is not asked")
        rows.append(row)
    return pl.DataFrame(rows)


def page(
    counts: pl.DataFrame,
    ledger: pl.DataFrame,
    settings: Mapping[str, Any],
    matched: Mapping[str, Mapping[str, int]],
) -> str:
    """Return the account as Markdown: the sums, the reasons, and which images were excluded."""
    names = printed_names(settings)
    named = counts.with_columns(pl.col("model").replace_strict(names).alias("name"))
    summary = _to_describe(counts["asked"]) + (
        " An image is done if the response follows its model's format, failed if there is a "
        "response that does not or that was cut off, and excluded if the model could not be "
        "prompted with it. Whatever part of a failed response is known is scored all the same. "
        "Asked is the sum of the three, checked image by image. Retried, forced and two rounds "
        "count all responses, whatever their status: those kept after a second or later attempt, "
        "those whose thinking was closed by force, and those for which the model requested the "
        "whole image. Broken format is the share of finished texts (not cut off, no loop) that do "
        "not parse as the model's format says."
    )
    parts = [
        f"# Accounting of the run {escaping.markdown(settings['run'])}\n",
        markdown(named, [Column("name", "Model"), *COUNTS], summary),
        *_warnings(named),
        "## Why responses failed and images were excluded\n",
        _reasons(named),
    ]
    if matched:
        parts += ["## Imported responses\n", _imported(settings["models"], matched)]
    if excluded := _excluded(ledger, names):
        parts += ["## Excluded images\n", excluded]
    return "\n".join(parts)


def _warnings(counts: pl.DataFrame) -> Iterator[str]:
    """Yield a warning for each model that breaks its format in most of its finished texts."""
    most = counts.filter(pl.col("share_broken") > WARN_ABOVE)
    for name, share in most.select("name", "share_broken").iter_rows():
        yield (
            f"**Warning.** {escaping.markdown(name)} breaks its format in {as_text(share, '.0%')} "
            "of its "
            "finished texts. It may see and write well all the same: read some of them before its "
            "scores, on its page in canary/ or in annotations/.\n"
        )


def _to_describe(asked: pl.Series) -> str:
    """Say which images the models describe."""
    if asked.n_unique() < 2:
        return "Each model describes every image of the sample."
    return (
        f"The teachers describe all {max(asked):,} images of the sample, the other models the "
        f"{min(asked):,} on which they are scored (benchmark.images)."
    )


def _imported(
    models: Mapping[str, Mapping[str, Any]], matched: Mapping[str, Mapping[str, int]]
) -> str:
    """List the models whose responses were imported, from where, and how images were matched."""
    lines = [
        "These models were not prompted by this run. An image for which their file has no response "
        "is excluded; rows of the file that were not used are listed in the csv.\n"
    ]
    for key, images in matched.items():
        name, path = models[key]["name"], models[key]["responses"]["path"]
        lines.append(
            f"- {escaping.markdown(name)}: {escaping.markdown(path)}; {images['name']:,} images "
            f"matched by name, {images['sha256']:,} by the SHA-256 of their bytes "
            f"(imported/{key}.csv)"
        )
    return "\n".join([*lines, ""])


def _reasons(counts: pl.DataFrame) -> str:
    """Return a table of the reasons that occurred: one row per reason, one column per model."""
    occurred = {name: text for name, text in REASONS.items() if counts[name].sum()}
    if not occurred:
        return "Nothing failed, and nothing was excluded.\n"
    rows = [
        {"reason": _words(name), "meaning": text} | dict(counts.select("model", name).iter_rows())
        for name, text in occurred.items()
    ]
    columns = [Column("reason", "Reason"), Column("meaning", "Meaning")]
    columns += [
        Column(key, name, format=WHOLE) for key, name in counts["model", "name"].iter_rows()
    ]
    others = [_words(name) for name in REASONS if name not in occurred]
    return markdown(
        pl.DataFrame(rows),
        columns,
        f"Images by reason and model. Reasons that did not occur: {'; '.join(others) or 'none'}.",
    )


def _words(column: str) -> str:
    """Return the name of a reason's column in words: `failed: no think`."""
    return column.replace("_", ": ", 1).replace("_", " ")


def _excluded(ledger: pl.DataFrame, names: Mapping[str, str]) -> str:
    """Return one line per model and reason of exclusion: its first images and an error."""
    rows = (
        ledger.filter(pl.col("reason").is_in(list(EXCLUSIONS)))
        .sort("model", "reason", "image_id")
        .group_by("model", "reason", maintain_order=True)
        .agg("image_id", pl.col("error").first())
    )
    lines = (
        f"{names[model]}, {reason}: {_images(images)}. The first error: {error or 'none'}"
        for model, reason, images, error in rows.iter_rows()
    )
    return "".join(f"- {escaping.markdown(line)}\n" for line in lines)


def account_responses(
    sample: str | Path,
    evaluated: str | Path,
    responses: list[str],
    annotations: list[str],
    matched: Sequence[str | Path],
    stem: str | Path,
    settings: Mapping[str, Any],
) -> None:
    """Write `<stem>.csv` and `<stem>.md`.

    Teachers are prompted with the images of `sample`, other models with those of `evaluated`.
    `responses` and `annotations` are the files of all models and shards, `matched` a CSV for each
    imported model, named after it: how its rows were matched with images. `settings` are the keys
    that the rule reads.

    Raises
    ------
    AccountError
        If an image cannot be accounted for.
    """
    everything, some = (
        pl.read_parquet(path, columns=["image_id"])["image_id"] for path in (sample, evaluated)
    )
    asked = {
        model: everything if model in settings["teachers"] else some for model in in_order(settings)
    }
    ledger = account(
        asked,
        pl.scan_parquet(responses).select(RESPONSE).collect(),
        pl.scan_parquet(annotations).select(ANNOTATION).collect(),
    )
    counts = count(ledger, {model: len(images) for model, images in asked.items()})
    for row in counts.select("model", "asked", DONE, FAILED, EXCLUDED).iter_rows():
        logger.info("%s: %d asked = %d done + %d failed + %d excluded", *row)
    columns = [Column("model", "Model"), *COUNTS, *(Column(name, name) for name in REASONS)]
    write_csv(counts, columns, f"{stem}.csv")
    found_by = {
        Path(path).stem: dict(read_csv(path).select("by", "images").iter_rows()) for path in matched
    }
    write_text(page(counts, ledger, settings, found_by), f"{stem}.md")


if __name__ == "__main__":
    snakemake = start_job()
    account_responses(
        *(snakemake.input.sample, snakemake.input.evaluated),
        *(list(snakemake.input.responses), list(snakemake.input.annotations)),
        list(snakemake.input.matched),
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
    )
