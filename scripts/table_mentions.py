"""How often answers name what the image shows, beside what chance gives."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think import captions
from imagenet_think.files import write_text
from imagenet_think.logs import log_to, logger
from imagenet_think.resampling import Intervals, bootstrap
from imagenet_think.schemas import MENTIONS
from imagenet_think.tables import WHOLE, Column, latex, markdown, write_csv

SHARES = {
    "synset": ("Its class", pl.col("synset")),
    "synset_or_hyponym": ("or one below", pl.col("synset") | pl.col("hyponym")),
    "any": ("or the one above", pl.any_horizontal("synset", "hyponym", "hypernym")),
    "chance": ("Chance", pl.col("other")),
}
"""Columns of the table, their headings and what they are the shares of."""

PERCENT = ".1%"

PRINTED = [
    Column("model", "Model"),
    *(
        Column(name, heading, "" if name == "chance" else "Names", PERCENT, interval=True)
        for name, (heading, _) in SHARES.items()
    ),
    Column("answers", "n", format=WHOLE),
]

COLUMNS = [
    *(Column(name, "") for name in ("grouping", "group", "model", "key")),
    *(Column(name, "", interval=True) for name in SHARES),
    *(Column(name, "", format=WHOLE) for name in ("answers", "no_answer")),
]
"""Columns of the csv, which also holds the numbers by domain and by stratum of complexity."""

GROUPINGS = {"domain": "domain", "stratum": "complexity_stratum"}
"""Groupings of the images, and the sample's column of each."""


def shares(
    found: pl.DataFrame,
    sample: pl.DataFrame,
    names: Mapping[str, str],
    intervals: Intervals,
    workers: int = 1,
) -> pl.DataFrame:
    """Return the rows of the csv.

    Parameters
    ----------
    found
        Rows of schema `MENTIONS`.
    sample
        Columns image_id, domain and complexity_stratum.
    names
        Key and name of the models in the order to print.
    intervals
        How the intervals are made, by resampling images.
    workers
        Threads of the resampling.

    Returns
    -------
    polars.DataFrame
        A row a model, over all images (grouping and group "all"), then over those of each domain
        and of each stratum; images without stratum are in none. Shares are of the answers; where
        there is none they are null.

    Raises
    ------
    ValueError
        If a model has an image twice, or one that is not in the sample.
    """
    matrix, asked = _matrix(found, sample["image_id"], list(names))
    rows = _rows("all", "all", matrix, asked, names, intervals, workers)
    for grouping, column in GROUPINGS.items():
        for group in _groups(sample[column]):
            chosen = (sample[column] == group).fill_null(False).to_numpy()
            part = matrix[chosen], asked[chosen]
            rows += _rows(grouping, str(group), *part, names, intervals, workers)
    numbers = [n for name in SHARES for n in (name, f"{name}_low", f"{name}_high")]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(numbers, pl.Float64))


def _groups(values: pl.Series) -> list[object]:
    """Return the domains, the largest first, or the strata in order."""
    sizes = values.drop_nulls().rename("group").value_counts()
    if values.dtype == pl.String:
        return sizes.sort(["count", "group"], descending=[True, False])["group"].to_list()
    return sizes["group"].sort().to_list()


def _matrix(
    found: pl.DataFrame, images: pl.Series, models: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each model's answers name, and which images each was asked about.

    Shapes (images, models, shares), NaN without answer, and (images, models).
    """
    values = np.full((len(images), len(models), len(SHARES)), np.nan)
    asked = np.zeros(values.shape[:2], dtype=bool)
    places = pl.DataFrame({"image_id": images}).with_row_index("place")
    for column, model in enumerate(models):
        rows = found.filter(pl.col("model") == model).join(places, on="image_id", how="left")
        twice = rows["image_id"].filter(rows["image_id"].is_duplicated())
        if len(twice):
            raise ValueError(f"mentions of {model}: image {twice[0]} appears more than once")
        strange = rows.filter(pl.col("place").is_null())["image_id"]
        if len(strange):
            raise ValueError(f"mentions of {model}: image {strange[0]} is not in the sample")
        place = rows["place"].to_numpy()
        asked[place, column] = True
        for share, (_, expression) in enumerate(SHARES.values()):
            values[place, column, share] = rows.select(expression.cast(pl.Float64)).to_series()
    return values, asked


def _rows(
    grouping: str,
    group: str,
    values: np.ndarray,
    asked: np.ndarray,
    names: Mapping[str, str],
    intervals: Intervals,
    workers: int,
) -> list[dict[str, object]]:
    images, models, width = values.shape
    low, high = bootstrap(values.reshape(images, models * width), intervals, workers)
    low, high = low.reshape(models, width), high.reshape(models, width)
    rows = []
    for column, (key, name) in enumerate(names.items()):
        row = {"grouping": grouping, "group": group, "model": name, "key": key}
        for place, share in enumerate(SHARES):
            present = values[:, column, place][~np.isnan(values[:, column, place])]
            row[share] = float(present.mean()) if len(present) else None
            row[f"{share}_low"] = float(low[column, place]) if len(present) else None
            row[f"{share}_high"] = float(high[column, place]) if len(present) else None
        answers = int((~np.isnan(values[:, column, 0])).sum())
        row |= {"answers": answers, "no_answer": int(asked[:, column].sum()) - answers}
        rows.append(row)
    return rows


def caption(rows: pl.DataFrame, intervals: Mapping) -> str:
    """Say what is matched, and of how many answers."""
    missing = rows["no_answer"].sum()
    left = f"; {missing:,} responses without an answer are left out" if missing else ""
    return (
        "Share of answers that name what the image shows: its class, by one of the synset's "
        "lemmas; or a class below it; or the one directly above. Names are matched as whole words, "
        "whatever their capitals (names in capitals alone, as OR, as they are written), with space "
        "or hyphen between their words, and with the last word in its regular plural (-s, -es, "
        "-ies) as well; a name in another sense of the word counts too. Chance: the answer names, "
        "in any of these ways, another class of the sample, drawn at random for each image. n: "
        f"answers{left}. {captions.intervals(intervals)} By domain and by stratum of visual "
        "complexity in the csv."
    )


def table_mentions(
    mentions: Sequence[str | Path],
    sample: str | Path,
    stem: str | Path,
    *,
    names: Mapping[str, str],
    models: Sequence[str],
    intervals: Mapping[str, float],
    seed: int,
    workers: int = 1,
) -> None:
    """Write the table.

    Parameters
    ----------
    mentions
        Parquets of schema `MENTIONS`, all models and shards.
    sample
        Parquet of schema `SAMPLE`.
    stem
        Path of the table without ending.
    names
        Names of the models, by key.
    models
        Their keys in the order to print.
    intervals
        `draws` and `level` of the intervals.
    seed
        Of the resamples.
    workers
        Threads of the resampling, which change nothing of the result.
    """
    images = pl.read_parquet(sample, columns=["image_id", *GROUPINGS.values()]).sort("image_id")
    found = pl.scan_parquet(mentions, schema=MENTIONS).collect()
    ordered = {key: names[key] for key in models}
    rows = shares(found, images, ordered, Intervals(**intervals, seed=seed), workers)
    total = rows.filter(grouping="all")
    for row in total.iter_rows(named=True):
        logger.info("%s: %d answers, %d without", row["key"], row["answers"], row["no_answer"])
    text = caption(total, intervals)
    write_csv(rows, COLUMNS, f"{stem}.csv")
    write_text(latex(total, PRINTED, text, f"tab:{Path(stem).name}"), f"{stem}.tex")
    write_text(markdown(total, PRINTED, text), f"{stem}.md")


if __name__ == "__main__":
    log_to(snakemake.log[0])
    table_mentions(
        mentions=snakemake.input.mentions,
        sample=snakemake.input.sample,
        stem=Path(snakemake.output[0]).with_suffix(""),
        workers=snakemake.threads,
        **json.loads(snakemake.params.settings),
    )
