"""Write every number of the paper's text as a LaTeX macro."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import yaml

from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.parsing.statuses import OK
from imagenet_think.report import paper_macros
from imagenet_think.report.evidence import evidence
from imagenet_think.report.macros import define

BENCHMARK_TABLES = ("table3", "table4", "table5", "table6")
COMPARISON = {"inside": pl.Boolean, "reasons": pl.String, "ours": pl.Float64}
COMPARISON |= {"difference": pl.Float64}
"""Columns of the comparison that may be empty in every row."""


def export_numbers(
    tables: Sequence[str | Path],
    sample: str | Path,
    exclusions: str | Path,
    annotations: Sequence[str | Path],
    comparison: str | Path,
    audit: str | Path,
    reported: str | Path,
    output: str | Path,
    settings: Values,
) -> None:
    r"""Write a file of `\newcommand{\<Name>}{<value>}` lines for the paper to input.

    Parameters
    ----------
    tables
        The csv files table1 to table7 and language.
    sample, exclusions, annotations
        Parquet files of the sampled and the rejected images, and of every model's annotations.
    comparison, audit
        The csv of the cell-by-cell comparison with the paper, and that of the paper's audit.
    reported
        What the paper reports (YAML).
    output
        The LaTeX file.
    settings
        The keys of the config that the rule declares.

    Raises
    ------
    ValueError
        If a table is missing, or a macro's name contains anything but letters.
    """
    read = {Path(path).stem: read_csv(path, infer_schema_length=None) for path in tables}
    wanted = {*BENCHMARK_TABLES, "table1", "table2", "table7", "language"}
    if wanted - read.keys():
        raise ValueError(f"the csv of {sorted(wanted - read.keys())} is missing among the tables")
    pair = (pl.col("think_status") == OK) & (pl.col("answer_status") == OK)
    statuses = pl.scan_parquet(list(map(Path, annotations)))
    statuses = statuses.select("image_id", "model", "status", pair=pair)
    counts = statuses.group_by("model", "status", "pair").len("rows").collect()
    of_teachers = statuses.filter(pl.col("model").is_in(settings["teachers"])).collect()
    images = pl.read_parquet(sample, columns=["image_id", "wnid", "domain"])
    excluded = pl.read_parquet(exclusions, columns=["reason"])
    compared = read_csv(comparison, schema_overrides=COMPARISON)
    known = evidence(settings, read["table2"].row(0, named=True), read["language"])
    samples, ablation = read["table1"]["samples"][-1], read["table7"]
    macros = {
        **paper_macros.setting_macros(settings),
        **paper_macros.image_macros(known, images, excluded),
        **paper_macros.response_macros(counts, settings),
        **paper_macros.dataset_macros(images, of_teachers, settings),
        **paper_macros.text_macros(read["table1"], read["language"], settings),
        **paper_macros.score_macros([read[name] for name in BENCHMARK_TABLES], ablation),
        **paper_macros.comparison_macros(compared),
        **paper_macros.audit_macros(read_csv(audit)),
        **paper_macros.reported_macros(yaml.safe_load(Path(reported).read_text(encoding="utf-8"))),
    }
    true = paper_macros.switches(settings, known, images["wnid"], samples, ablation)
    true |= {"PaperRun": not paper_macros.incomparable(compared)}
    write_text(define(macros, true), output)


if __name__ == "__main__":
    snakemake = start_job()
    export_numbers(
        tables=snakemake.input.tables,
        sample=snakemake.input.sample,
        exclusions=snakemake.input.exclusions,
        annotations=snakemake.input.annotations,
        comparison=snakemake.input.comparison,
        audit=snakemake.input.audit,
        reported=snakemake.input.reported,
        output=snakemake.output[0],
        settings=json.loads(snakemake.params.settings),
    )
