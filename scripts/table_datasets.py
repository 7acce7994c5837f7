"""Table 1: this dataset beside four others as the paper reports them."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import yaml

from imagenet_think.lengths import sample_tokens
from imagenet_think.logs import log_to, logger
from imagenet_think.tables import WHOLE, Column, write_table

OURS = "ImageNet-Think"
"""Name of the paper's own row, and of ours in its place."""

REPORTED, COMPUTED = "reported by the paper", "computed here"

COLUMNS = [
    Column("dataset", "Dataset"),
    Column("images", "#Images", format=WHOLE),
    Column("min", "Min. tokens", format=WHOLE),
    Column("max", "Max. tokens", format=WHOLE),
    Column("mean", "Avg. tokens", format=",.0f"),
    Column("total", "Total tokens", format=WHOLE),
    Column("reasoning", "Reasoning"),
    Column("models", "Models"),
    Column("domains", "Domains", width=0.13),
    Column("source", "Source", width=0.13),
]

SCHEMA = pl.Schema(
    {
        "dataset": pl.String,
        "images": pl.Int64,
        "min": pl.Int64,
        "max": pl.Int64,
        "mean": pl.Float64,
        "total": pl.Int64,
        "reasoning": pl.String,
        "models": pl.String,
        "domains": pl.String,
        "source": pl.String,
    }
)


def compare(
    lengths: pl.DataFrame, reported: Sequence[dict[str, object]], teachers: Sequence[str]
) -> pl.DataFrame:
    """Return the rows of Table 1, ours last.

    Parameters
    ----------
    lengths
        Rows of schema `LENGTHS` of the teachers.
    reported
        Rows of the paper's Table 1. Its row of this dataset gives what is not counted (reasoning,
        domains) and is replaced.
    teachers
        Keys of the teachers.

    Returns
    -------
    polars.DataFrame
        Columns as in the paper's Table 1, and where each row comes from. Tokens are per sample: an
        image with thinking and answer of every teacher, all of them together. Images are those
        samples, so that images times mean is total.
    """
    tokens = sample_tokens(lengths, teachers)["tokens"]
    paper = next(row for row in reported if row["dataset"] == OURS)
    ours = {
        "dataset": OURS,
        "images": len(tokens),
        "min": tokens.min(),
        "max": tokens.max(),
        "mean": tokens.mean(),
        "total": tokens.sum(),
        "reasoning": paper["reasoning"],
        "models": "Multi" if len(teachers) > 1 else "Single",
        "domains": paper["domains"],
        "source": COMPUTED,
    }
    others = [row | {"source": REPORTED} for row in reported if row is not paper]
    rows = [{name: row[name] for name in SCHEMA} for row in [*others, ours]]
    return pl.DataFrame(rows, schema=SCHEMA)


def caption(samples: int, images: int, run: str, tokenizer: str) -> str:
    """Say what the numbers are, how many images stand behind ours, and how many were left out."""
    return (
        f"Comparison of {OURS} with existing multimodal reasoning datasets. The others are as "
        f"reported by the paper, which names no tokenizer. The row of {OURS} is computed from the "
        f"run {run}: tokens are those of the tokenizer of {tokenizer}, no special tokens added; a "
        "sample is an image with the thinking and the answer of every teacher: "
        f"M = {samples:,} of {images:,} images, {images - samples:,} left out because a response "
        "is missing, was cut off or could not be parsed."
    )


def table_datasets(
    sample: str | Path,
    lengths: Sequence[str | Path],
    reported: str | Path,
    stem: str | Path,
    *,
    teachers: Sequence[str],
    run: str,
    tokenizer: str,
) -> None:
    """Write Table 1.

    Parameters
    ----------
    sample
        Parquet of schema `SAMPLE`.
    lengths
        Parquet files of schema `LENGTHS`, all shards of the teachers.
    reported
        What the paper reports (YAML).
    stem
        Path of the table without ending.
    teachers
        Keys of the teachers.
    run, tokenizer
        Names of the run and of the tokenizer, for the caption.
    """
    images = pl.read_parquet(sample, columns=["image_id"])
    rows = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))["table1"]
    measured = pl.scan_parquet(lengths).select("image_id", "model", "part", "tokens").collect()
    frame = compare(measured, rows, teachers)
    samples = frame["images"][-1]
    if samples < len(images):
        logger.warning("%d of %d images left out", len(images) - samples, len(images))
    write_table(frame, COLUMNS, caption(samples, len(images), run, tokenizer), stem)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    table_datasets(
        sample=snakemake.input.sample,
        lengths=snakemake.input.lengths,
        reported=snakemake.input.reported,
        stem=Path(snakemake.output[0]).with_suffix(""),
        teachers=settings["teachers"],
        run=settings["run"],
        tokenizer=settings["tokenizer"],
    )
