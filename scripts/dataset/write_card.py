"""Write the dataset card: the README of its folder, with the front matter that the hub reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.core.templates import environment
from imagenet_think.core.wording import count
from imagenet_think.dataset import card_tables, hub_files, publication, teachers
from imagenet_think.dataset.card_metadata import front_matter
from imagenet_think.report import escaping, evidence
from imagenet_think.report.table_captions import OURS

RECORDED = [
    "question",
    "source_sha256",
    *(
        f"{name}_{k}"
        for name in ("revision", "decoding", "engine", "status", "forced")
        for k in (1, 2)
    ),
]
"""The columns that the card summarizes."""


class Markdown(str):
    """Text that is already Markdown and is not escaped."""


def write_card(
    files: Sequence[str | Path],
    tables: Sequence[str | Path],
    language: str | Path,
    reported: str | Path,
    template: str | Path,
    output: str | Path,
    config: Values,
    *,
    full: bool,
) -> None:
    """Write the card, and remove files of an earlier dataset from the dataset's folder.

    Parameters
    ----------
    files
        The dataset's parquet files, of both configurations and all splits, in its folder.
    tables, language
        Of the run: the csv files table1, table2 and language, and the latter's Markdown.
    reported
        What the paper reports (YAML).
    template, output
        The card's Jinja template, and the card, in the dataset's folder.
    config
        The keys of the config that the rule declares.
    full
        Whether the dataset contains images.
    """
    hub_files.remove_leftovers(files)
    read = {Path(path).stem: read_csv(path, infer_schema_length=None) for path in tables}
    rows = pl.concat(pl.scan_parquet(file).select(RECORDED) for file in files).collect()
    models = [config["models"][key] for key in config["teachers"]]
    names = publication.teacher_names(config)
    images = read["table2"].row(0, named=True)
    known = evidence.evidence(config, images, read["language"])
    title, notice = publication.identity(config, images, reported)
    counted = hub_files.count_rows(files)
    schemas = hub_files.schemas(full)
    facts = {
        "front": Markdown(front_matter(title, config, known, full, files)),
        "title": title,
        "notice": notice,
        "full": full,
        "config": config,
        "known": known,
        "rejections": publication.rejections(config) if publication.source(config).sampled else "",
        "summary": publication.description(known, names, hub_files.failed(counted), full),
        **publication.places(config["dataset"], Path(output).parent, full),
        "present": {
            each["config_name"]: [data["split"] for data in each["data_files"]]
            for each in hub_files.data_files(counted)
        },
        "splits": Markdown(card_tables.split_table(counted)),
        "columns": Markdown(card_tables.column_table(schemas["default"], schemas["failed"])),
        "images": images,
        "count": count,
        "tokens": read["table1"].filter(dataset=OURS).row(0, named=True),
        "language": Markdown(Path(language).read_text(encoding="utf-8")),
        "unchecked": rows["source_sha256"].null_count(),
        "questions": sorted(rows["question"].drop_nulls().unique()),
        "collection": publication.collection(known, names),
        "teachers": [teachers.facts(rows, k, model) for k, model in enumerate(models, start=1)],
        "forced": sum(rows.select(pl.col("forced_1", "forced_2").sum()).row(0)),
        "failures": Markdown(card_tables.failure_table(rows, names)),
        "license": publication.LICENSES[config["dataset"]["license"]],
        "publication": publication,
        "biases": publication.biases(config, known),
        "limits": publication.limits(config, known),
        "citation": Markdown(publication.CITATION),
    }
    write_text(render(Path(template).read_text(encoding="utf-8"), facts), output)


def render(template: str, facts: dict[str, Any]) -> str:
    """Render a Markdown template: numbers get thousands separators, texts are escaped.

    Printing None raises ValueError.
    """
    markdown = environment(keep_trailing_newline=True, finalize=_printed)
    # For code blocks, and for values that the config's schema keeps harmless.
    markdown.filters["raw"] = Markdown
    return markdown.from_string(template).render(facts)


def _printed(value: object) -> str:
    if isinstance(value, Markdown):
        return value
    if value is None:
        raise ValueError("the card's template prints a value that is missing")
    return f"{value:,}" if isinstance(value, int) else escaping.markdown(str(value))


if __name__ == "__main__":
    snakemake = start_job()
    write_card(
        files=snakemake.input.files,
        tables=snakemake.input.tables,
        language=snakemake.input.language,
        reported=snakemake.input.reported,
        template=snakemake.input.template,
        output=snakemake.output[0],
        config=json.loads(snakemake.params.settings),
        full=json.loads(snakemake.params.full)["full"],
    )
