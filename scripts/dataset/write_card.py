"""The dataset's card: the README of its folder, with the front matter that the hub reads."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml
from jinja2 import Environment, StrictUndefined
from pyarrow.parquet import read_metadata

from build_dataset import FULL, PLAIN
from imagenet_think import parsing
from imagenet_think.core import model_sources
from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from imagenet_think.dataset import hub_files, publication
from imagenet_think.dataset.dataset_fields import describe
from imagenet_think.dataset.hub_files import arrow_schema, count_rows
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.parsing.statuses import OK
from imagenet_think.report import escaping
from imagenet_think.report.table_captions import OURS
from imagenet_think.report.tables import WHOLE, Column, markdown

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
"""The hub's categories of sizes: fewer rows than so many, and the name."""

LARGEST = "10M<n<100M"

TEACHERS = (1, 2)
PROVENANCE = ("model", "revision", "prompt_id", "decoding", "engine")
"""What each row records of a teacher and the card lists."""

RECORDED = [
    "question",
    *(f"{name}_{k}" for k in TEACHERS for name in (*PROVENANCE, "status", "forced")),
]
"""The columns that the card counts."""

SOURCES = {
    "drawings": "drawn by the pipeline itself, so none of them is a photograph",
    "folder": "sampled from a folder of one's own images",
    "listing": "those that parquet files name, all of them",
}
"""Where images come from that are not sampled from a copy of ImageNet, by kind of source."""


class Markdown(str):
    """What is Markdown already, and stands in the card as it is."""


def write_card(
    files: Sequence[str | Path],
    tables: Sequence[str | Path],
    language: str | Path,
    reported: str | Path,
    template: str | Path,
    output: str | Path,
    settings: Mapping[str, Any],
) -> None:
    """Write the card.

    Parameters
    ----------
    files
        The dataset's parquet files, of both configurations and all splits, in its folder. What an
        earlier dataset left beside them is removed.
    tables
        The csv files table1 and table2 of the run.
    language
        The Markdown file of the run's table of lengths and words.
    reported
        What the paper reports (YAML).
    template
        The card's Jinja template.
    output
        The Markdown file, in the dataset's folder.
    settings
        `full` (whether the dataset holds pictures), `run`, `source` (its kind), `criteria` (null
        for a listing), `teachers` (the models as in the config), `dataset` (its section of the
        config), and `compared` (what `comparability.of_dataset` reads).
    """
    hub_files.remove_leftovers(files)
    read = {Path(path).stem: pl.read_csv(path, infer_schema_length=None) for path in tables}
    folder = Path(output).parent
    rows = pl.concat(pl.scan_parquet(file).select(RECORDED) for file in files).collect()
    counted = count_rows(files)
    configurations = hub_files.front_matter(counted)
    full = settings["full"]
    columns = FULL if full else PLAIN
    images = read["table2"].row(0, named=True)
    title, notice = publication.identity(settings, images, reported)
    facts = {
        "settings": settings,
        "full": full,
        "dataset": settings["dataset"],
        "title": title,
        "notice": notice,
        **publication.places(settings["dataset"], folder, full),
        "images": images,
        "tokens": read["table1"].filter(pl.col("dataset") == OURS).row(0, named=True),
        "questions": sorted(rows["question"].drop_nulls().unique()),
        "teachers": [teacher(rows, k, settings["teachers"][k - 1]) for k in TEACHERS],
        "summary": publication.description(
            images["images"],
            images["classes"],
            [model["name"] for model in settings["teachers"]],
            full,
        ),
        "rows": counted,
        "configurations": configurations,
        "present": {
            each["config_name"]: [data["split"] for data in each["data_files"]]
            for each in configurations
        },
        "splits": Markdown(split_table(counted)),
        "columns": Markdown(column_table(columns["default"], columns["failed"])),
        "language": Markdown(Path(language).read_text(encoding="utf-8")),
        "failures": failures(rows, [model["name"] for model in settings["teachers"]]),
        "forced": forced(rows),
        "source": SOURCES.get(settings["source"], "sampled from a copy of ImageNet-21k"),
        "imagenet": settings["source"] not in publication.FOREIGN,
        "license": publication.LICENSES[settings["dataset"]["license"]],
        "publication": publication,
        "citation": Markdown(publication.CITATION),
    }
    facts["front"] = Markdown(front_matter(facts, files))
    page = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printed,
    )
    page.filters["raw"] = Markdown  # for a code block, and for what is safe by the config's schema
    text = Path(template).read_text(encoding="utf-8")
    write_text(page.from_string(text).render(facts), output)


def _printed(value: object) -> str:
    """Return what stands in the Markdown: numbers with thousands separated, texts escaped."""
    if isinstance(value, Markdown):
        return value
    if value is None:
        raise ValueError("the card's template prints what is not there")
    return f"{value:,}" if isinstance(value, int) else escaping.markdown(str(value))


def split_table(rows: Mapping[tuple[str, str], int]) -> str:
    """Return the table of splits, with a row for all of them; `rows` is from `count_rows`."""
    table = pl.DataFrame(
        [
            {"split": split, **{name: rows[name, split] for name in CONFIGURATIONS}}
            for split in SPLITS
        ]
    )
    total = table.select(pl.lit("all").alias("split"), pl.exclude("split").sum())
    columns = [
        Column("split", "Split"),
        Column("images", "Images", format=WHOLE),
        *(Column(name, f"Rows of {name}", format=WHOLE) for name in CONFIGURATIONS),
    ]
    table = pl.concat([table, total]).with_columns(images=pl.sum_horizontal(list(CONFIGURATIONS)))
    return markdown(table, columns, "").lstrip()


def column_table(default: Iterable[str], failed: Iterable[str]) -> str:
    """Return the table of columns; what both teachers have stands in one row."""
    default = list(default)
    rows = []
    for name in (*default, *(name for name in failed if name not in default)):
        if name.endswith("_2"):
            continue
        meaning = describe(name) if name in default else f"{describe(name)} In failed alone."
        if name.endswith("_1"):
            meaning = meaning.replace("teacher 1", "teacher 1 or 2")
            name = f"{name}, {name[:-1]}2"
        rows.append({"column": name, "meaning": meaning})
    columns = [Column("column", "Column"), Column("meaning", "What it holds")]
    return markdown(pl.DataFrame(rows), columns, "").lstrip()


def teacher(rows: pl.DataFrame, k: int, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card says of a teacher: of the config, and as its rows record it.

    Parameters
    ----------
    rows
        Of all files, with the columns `RECORDED`.
    k
        1 or 2.
    model
        Its section of the config.
    """
    names = [f"{name}_{k}" for name in PROVENANCE]
    recorded = rows.select(names).unique()
    found = {
        name: sorted(recorded[f"{name}_{k}"].drop_nulls().unique().to_list()) for name in PROVENANCE
    }
    decodings = [json.loads(text) for text in found["decoding"]]
    return {
        "k": str(k),
        "name": model["name"],
        "imported": "repository" not in model,
        **where(model),
        "revisions": ", ".join(found["revision"]),
        "engines": ", ".join(found["engine"]),
        "decodings": ["; ".join(f"{key} {value}" for key, value in d.items()) for d in decodings],
        "system": model.get("system"),
        "template": model.get("template"),
        "prefix": model.get("prefix"),
        "rule": parsing.rule(model["output"]) if model.get("output") else None,
    }


def where(model: Mapping[str, Any]) -> dict[str, str]:
    """Return where a teacher lies, without this machine's folders, and a link for the hub.

    A folder that is named from the root is called by its own name.
    """
    if "repository" not in model:
        return {"repository": "", "link": ""}
    repository = model["repository"]
    if model_sources.is_hub(repository):
        return {"repository": repository, "link": f"https://huggingface.co/{repository}"}
    path = Path(repository)
    return {"repository": path.name if path.is_absolute() else repository, "link": ""}


def failures(rows: pl.DataFrame, names: Sequence[str]) -> Markdown | None:
    """Return the table of what failed by status and teacher; None where nothing did.

    Parameters
    ----------
    rows
        Of all files, with the columns `RECORDED`.
    names
        The teachers' printed names.
    """
    found = {k: dict(rows.group_by(f"status_{k}").len().iter_rows()) for k in TEACHERS}
    bad = [
        status for status in STATUSES if status != OK and any(status in f for f in found.values())
    ]
    if not bad:
        return None
    table = pl.DataFrame(
        [
            {
                "status": status,
                "meaning": STATUSES[status],
                **{f"teacher_{k}": found[k].get(status, 0) for k in TEACHERS},
            }
            for status in bad
        ]
    )
    columns = [
        Column("status", "Status"),
        Column("meaning", "Meaning"),
        *(Column(f"teacher_{k}", names[k - 1], format=WHOLE) for k in TEACHERS),
    ]
    return Markdown(markdown(table, columns, "Responses by status and teacher."))


def forced(rows: pl.DataFrame) -> int:
    """Return how many responses have a thought that was closed by force."""
    sums = rows.select(pl.col(f"forced_{k}").sum() for k in TEACHERS)
    return sum(sums.row(0))


def sizes(files: Sequence[str | Path]) -> Counter[tuple[str, str]]:
    """Return the bytes of the rows by configuration and split: unpacked, as parquet counts them."""
    names = {folder: name for name, folder in CONFIGURATIONS.items()}
    found = Counter[tuple[str, str]]()
    for file in map(Path, files):
        groups = read_metadata(file)
        found[names[file.parent.name], file.name.partition("-")[0]] += sum(
            groups.row_group(place).total_byte_size for place in range(groups.num_row_groups)
        )
    return found


def front_matter(facts: Mapping[str, Any], files: Sequence[str | Path]) -> str:
    """Return the YAML that the hub and `datasets` read, without its fences.

    Parameters
    ----------
    facts
        What the card's template gets.
    files
        The dataset's files.
    """
    rows, unpacked = facts["rows"], sizes(files)
    front = {
        "pretty_name": facts["title"],
        **licence(facts),
        "language": ["en"],
        "task_categories": ["image-text-to-text"],
        "size_categories": [size_category(rows.total())],
        "annotations_creators": ["machine-generated"],
        "tags": list(publication.KEYWORDS),
        "configs": facts["configurations"],
        "dataset_info": [
            {
                "config_name": name,
                "features": features((FULL if facts["full"] else PLAIN)[name]),
                "splits": [
                    {
                        "name": split,
                        "num_bytes": unpacked[name, split],
                        "num_examples": rows[name, split],
                    }
                    for split in splits
                ],
            }
            for name, splits in facts["present"].items()
        ],
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)


def size_category(rows: int) -> str:
    """Return the hub's category of a size."""
    return next((name for bound, name in SIZES if rows < bound), LARGEST)


def licence(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the licence in the hub's words: that of the texts, or of pictures where some are."""
    if not facts["full"] or facts["settings"]["source"] == "drawings":
        return {"license": facts["dataset"]["license"]}
    if not facts["imagenet"]:
        return {"license": "unknown"}
    terms = publication.IMAGENET_TERMS
    return {"license": "other", "license_name": "imagenet", "license_link": terms}


def features(schema: pl.Schema) -> list[dict[str, str]]:
    """Return the columns as the hub's `datasets` know them."""
    known = json.loads(arrow_schema(schema).metadata[b"huggingface"])["info"]["features"]
    return [
        {"name": name, "dtype": feature.get("dtype", "image")} for name, feature in known.items()
    ]


def said(taken: Mapping[str, Any], full: bool) -> dict[str, Any]:
    """Return the settings of `write_card`.

    Parameters
    ----------
    taken
        The keys of the config that its rule declares.
    full
        Whether the dataset holds pictures.
    """
    return {
        **publication.published_as(taken, full),
        "criteria": taken["images"].get("criteria"),
        "preparation": taken["images"].get("preparation"),
        "teachers": [taken["models"][key] for key in taken["teachers"]],
    }


if __name__ == "__main__":
    log_to(snakemake.log[0])
    write_card(
        files=snakemake.input.files,
        tables=snakemake.input.tables,
        language=snakemake.input.language,
        reported=snakemake.input.reported,
        template=snakemake.input.template,
        output=snakemake.output[0],
        settings=said(
            json.loads(snakemake.params.settings), json.loads(snakemake.params.full)["full"]
        ),
    )
