"""Table 1: this dataset and those of the paper, counted in local copies or as it reports them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from imagenet_think.analysis.lengths import sample_tokens
from imagenet_think.analysis.other_datasets import FORMS
from imagenet_think.core import model_sources
from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import Values
from imagenet_think.core.wording import series
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.table_captions import COMPUTED, OURS, REPORTED
from imagenet_think.report.tables import WHOLE, Column, write_table

Counts = Mapping[str, Mapping[str, Any]]
"""What was counted in copies of other datasets, by the dataset's key."""

COLUMNS = [
    Column("dataset", "Dataset", width=0.09),
    Column("images", "Images", format=WHOLE),
    Column("samples", "Samples", format=WHOLE),
    Column("min", "Min.", "Tokens", format=WHOLE),
    Column("max", "Max.", "Tokens", format=WHOLE),
    Column("mean", "Avg.", "Tokens", format=",.0f"),
    Column("total", "Total", "Tokens", format=WHOLE),
    Column("reasoning", "Reasoning"),
    Column("models", "Models"),
    Column("domains", "Domains", width=0.105),
    Column("source", "Source", width=0.085),
]

SCHEMA = pl.Schema(
    {column.name: pl.Int64() if column.format == WHOLE else pl.String() for column in COLUMNS}
    | {"mean": pl.Float64()}
)


def compare(
    lengths: pl.DataFrame,
    reported: Sequence[Mapping[str, Any]],
    teachers: Sequence[str],
    domains: Sequence[str],
    counted: Counts,
) -> pl.DataFrame:
    """Return the rows of Table 1, ours last.

    Parameters
    ----------
    lengths
        Rows of schema `LENGTHS` of the teachers.
    reported
        Rows of the paper's Table 1; that of this dataset is replaced.
    teachers
        Keys of the teachers.
    domains
        The domains of the images.
    counted
        What `count_dataset` found in the local copies.

    Returns
    -------
    polars.DataFrame
        Columns as in the paper's Table 1, the number of samples, and where each row comes from.
        Tokens are per sample, so that samples times mean is the total. The paper does not give its
        number of samples.
    """
    tokens = sample_tokens(lengths, teachers)["tokens"]
    ours = {
        "dataset": OURS,
        "images": len(tokens),
        "samples": len(tokens),
        "min": tokens.min(),
        "max": tokens.max(),
        "mean": tokens.mean(),
        "total": tokens.sum(),
        "reasoning": "Yes" if len(tokens) else "No",
        "models": "Multi" if len(teachers) > 1 else "Single",
        "domains": "General" if len(domains) > 1 else series(domains),
        "source": COMPUTED,
    }
    found = {FORMS[key].name: {**counts, "source": COMPUTED} for key, counts in counted.items()}
    others = [
        {**row, "samples": None, "source": REPORTED, **found.get(row["dataset"], {})}
        for row in reported
        if row["dataset"] != OURS
    ]
    rows = [{name: row[name] for name in SCHEMA} for row in [*others, ours]]
    return pl.DataFrame(rows, schema=SCHEMA)


def caption(defined: Values) -> str:
    """Return the caption: what counts as a sample in each row, and what was left out."""
    counted = defined["counted"]
    others = [form.name for key, form in FORMS.items() if key not in counted]
    names = _subject(others) if counted and others else "The others are"
    reported = f" {names} as reported by the paper, which names no tokenizer."
    tokenizer = model_sources.name(defined["tokenizer"]["repository"])
    return (
        f"Comparison of {OURS} with existing multimodal reasoning datasets."
        f"{reported if others else ''} The row of {OURS} is computed from the run "
        f"{defined['run']}: tokens are those of the tokenizer of {tokenizer}, no special tokens "
        f"added; {table_captions.samples(defined['samples'])}{_others(counted)}"
    )


def _others(counted: Counts) -> str:
    """State what counts as a sample in the rows that are counted in copies of the datasets."""
    if not counted:
        return ""
    notes = [
        f"of {FORMS[key].name} {FORMS[key].counted}, {counts['without_text']:,} without such a "
        "text left out"
        for key, counts in counted.items()
    ]
    return (
        f" {_subject([FORMS[key].name for key in counted])} counted in copies by the same "
        f"tokenizer, each distinct image once. A sample is {'; '.join(notes)}."
    )


def _subject(names: Sequence[str]) -> str:
    """Return names as a subject with its verb: `a, b and c are`."""
    return f"{series(names)} {'are' if len(names) > 1 else 'is'}"


def table_datasets(
    sample: str | Path,
    lengths: Sequence[str | Path],
    counts: Sequence[str | Path],
    reported: str | Path,
    stem: str | Path,
    settings: Values,
) -> None:
    """Write Table 1.

    Parameters
    ----------
    sample
        Parquet of schema `SAMPLE`.
    lengths
        Parquet files of schema `LENGTHS`, all shards of the teachers.
    counts
        One csv file from `count_dataset` for each other dataset with a local copy.
    reported
        What the paper reports (YAML).
    stem
        Path of the table without suffix.
    settings
        The keys of the config that the rule declares.
    """
    images = pl.read_parquet(sample, columns=["image_id", "domain"])
    rows = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))["table1"]
    measured = pl.read_parquet(
        list(map(Path, lengths)), columns=["image_id", "model", "part", "tokens"]
    )
    found = {Path(path).stem: read_csv(path).row(0, named=True) for path in counts}
    counted = {key: found[key] for key in FORMS if key in found}
    domains = images["domain"].unique().to_list()
    frame = compare(measured, rows, settings["teachers"], domains, counted)
    samples = frame["samples"][-1]
    if samples < len(images):
        logger.warning("%d of %d images left out", len(images) - samples, len(images))
    defined = {
        "run": settings["run"],
        "references": settings["teachers"],
        "texts": definitions.texts(),
        "tokenizer": settings["statistics"]["tokenizer"],
        "samples": {"complete": samples, "images": len(images)},
        "counted": counted,
        "reported": "resources/reported.yaml",
    }
    write_table(frame, COLUMNS, defined, caption, stem)


if __name__ == "__main__":
    snakemake = start_job()
    table_datasets(
        sample=snakemake.input.sample,
        lengths=snakemake.input.lengths,
        counts=snakemake.input.counts,
        reported=snakemake.input.reported,
        stem=Path(snakemake.output[0]).with_suffix(""),
        settings=json.loads(snakemake.params.settings),
    )
