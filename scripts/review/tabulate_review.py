"""Tabulate the reviewers' decisions: rates, preferences, and inter-rater agreement."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.analysis.intervals import Intervals, classes_of, shares
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import REVIEWED
from imagenet_think.core.settings import Values, names
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.tables import WHOLE, Column, write_table
from imagenet_think.review.decisions import read_decisions
from imagenet_think.review.form import ANSWERS, FAILURE, PREFERRED, TIES
from imagenet_think.review.reliability import LEAST, MISSING, cohen, krippendorff

PERCENT = ".1%"

ASKED = {
    "split": "Split is right",
    "answer": "Answer is true",
    "thought": "Thought is sound",
    "harmful": "Something is harmful",
    FAILURE: "Failure is rightly one",
}
"""The questions about one response, as statements; `share` is how often they hold."""

BETTER, TIED, BAD, LEFT = (
    "Preferred, not knowing whose",
    "Equally good",
    "Both bad",
    "Left side preferred",
)
"""The rows of the blind comparison."""

SPLIT = "split"
"""Value of an image on which reviewers are divided: no value has the most votes."""

COUNTS = ("agreeing", "decided", "undecided", "twice", "judgements", "reviewers")

COLUMNS = [
    Column("statement", "Statement", width=0.19),
    Column("model", "Response of", width=0.2),
    Column("share", "Share", format=PERCENT, interval=True),
    Column("decided", "n", format=WHOLE),
    Column("undecided", "Open", format=WHOLE),
    Column("twice", "Several", format=WHOLE),
    Column("alpha", "Alpha", format=".2f", interval=True),
    Column("kappa", "Kappa", format=".2f", interval=True),
    *(Column(name, "", printed=False) for name in ("question", "key")),
    *(
        Column(name, "", format=WHOLE, printed=False)
        for name in ("agreeing", "judgements", "reviewers")
    ),
]
SCHEMA = pl.Schema(
    dict.fromkeys(("question", "statement", "key", "model"), pl.String)
    | dict.fromkeys(COUNTS, pl.Int64)
    | {name: pl.Float64 for column in COLUMNS if column.interval for name in column.names}
)


def tabulate_review(
    decisions: Sequence[str | Path],
    reviewed: str | Path,
    sample: str | Path,
    stem: str | Path,
    settings: Values,
) -> None:
    """Write the table of the reviewers' decisions; ValueError if no file contains an answer.

    Parameters
    ----------
    decisions
        Files that reviewers exported.
    reviewed
        The page's sample, parquet of schema `REVIEWED`.
    sample
        The run's, parquet of schema `SAMPLE`.
    stem
        Path of the table without extension.
    settings
        The keys of the config that the rule reads.
    """
    shown = pl.read_parquet(reviewed, schema=REVIEWED)
    found, reviewers = read_decisions(decisions, shown, settings["run"])
    if found.is_empty():
        raise ValueError(f"no decisions in {', '.join(map(str, decisions))}")
    rows = results(
        found,
        pl.read_parquet(sample, columns=["image_id", "wnid"]),
        settings["teachers"],
        names(settings),
        Intervals(**settings["benchmark"]["intervals"]),
    )
    for reviewer in reviewers:
        own = found.filter(reviewer=reviewer)
        logger.info("%s: %d answers on %d images", reviewer, len(own), own["image_id"].n_unique())
    columns = [
        column for column in COLUMNS if column.name != "kappa" or rows["kappa"].is_not_null().any()
    ]
    if len(columns) < len(COLUMNS):
        columns.append(Column("kappa", "", interval=True, printed=False))
    defined = {
        "reviewers": len(reviewers),
        "images": {"judged": found["image_id"].n_unique(), "shown": len(shown)},
        "intervals": {**definitions.intervals(settings), "least_of_coefficients": LEAST},
    }
    write_table(rows, columns, defined, caption, stem)


def results(
    decisions: pl.DataFrame,
    sample: pl.DataFrame,
    teachers: Sequence[str],
    names: Mapping[str, str],
    intervals: Intervals,
) -> pl.DataFrame:
    """Return the rows of the table.

    There is one per answered question and teacher, then those of the blind comparison. `share` is
    `agreeing` / `decided`, both without undecided images.

    Parameters
    ----------
    decisions
        Schema `DECISIONS`.
    sample
        Columns image_id and wnid.
    teachers, names
        Keys of teacher 1 and 2, and the models' names.
    intervals
        How intervals are made.
    """
    found: list[tuple] = []
    for (question, statement), teacher in product(ASKED.items(), teachers):
        own = decisions.filter(question=question, model=teacher)
        if len(own):
            row = _share(_votes(own), ["yes"], ["no"], sample, intervals)
            row |= _judged(own, ANSWERS, sample, intervals)
            found.append((question, statement, teacher, row))
    compared = decisions.filter(question=PREFERRED)
    if len(compared):
        votes = _votes(compared)
        judged = _judged(compared, (*teachers, *TIES), sample, intervals)
        counts = {name: judged[name] for name in COUNTS if name in judged}
        for teacher, other in zip(teachers, reversed(teachers), strict=True):
            row = _share(votes, [teacher], [other], sample, intervals) | judged
            found.append((PREFERRED, BETTER, teacher, row))
        for value, statement in zip(TIES, (TIED, BAD), strict=True):
            others = {*votes["value"]} - {value}
            row = _share(votes, [value], [*others], sample, intervals) | counts
            found.append((value, statement, None, row))
        sides = compared.with_columns(value="side")
        row = _share(sides, ["left"], ["right"], sample, intervals) | counts
        found.append(("left", LEFT, None, row))
    rows = [
        {"question": question, "statement": statement, "key": key, "model": names.get(key, "")}
        | row
        for question, statement, key, row in found
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _share(
    values: pl.DataFrame,
    positive: Sequence[str],
    negative: Sequence[str],
    sample: pl.DataFrame,
    intervals: Intervals,
) -> dict[str, object]:
    """Return how often the decided values are positive.

    `values` has the columns image_id and value. Those of one image are not independent.
    """
    images = values.group_by("image_id", maintain_order=True).agg(
        pl.col("value").is_in(list(positive)).sum().alias("agreeing"),
        pl.col("value").is_in([*positive, *negative]).sum().alias("decided"),
    )
    agreeing, decided = (images[name].to_numpy() for name in ("agreeing", "decided"))
    classes = classes_of(images["image_id"], sample)
    ends = shares(agreeing[None], decided[None], classes, intervals)
    numbers = (None if np.isnan(number[0]) else float(number[0]) for number in ends)
    return {
        **dict(zip(("share", "share_low", "share_high"), numbers, strict=True)),
        "agreeing": int(agreeing.sum()),
        "decided": int(decided.sum()),
        "undecided": len(values) - int(decided.sum()),
    }


def _votes(rows: pl.DataFrame) -> pl.DataFrame:
    """Return image_id and value: the one that most reviewers of an image gave.

    An image without such a value has `SPLIT`.
    """
    votes = rows.group_by("image_id", "value").len("votes")
    most = votes.filter(pl.col("votes") == pl.col("votes").max().over("image_id"))
    won = pl.when(pl.len() == 1).then(pl.col("value").first()).otherwise(pl.lit(SPLIT))
    return most.group_by("image_id").agg(won.alias("value")).sort("image_id")


def _judged(
    rows: pl.DataFrame, values: Sequence[str], sample: pl.DataFrame, intervals: Intervals
) -> dict[str, object]:
    """Return the reviewers' agreement on the images of some rows, with counts."""
    codes = rows.with_columns(
        pl.col("value").replace_strict({value: code for code, value in enumerate(values)})
    )
    table = codes.pivot("reviewer", index="image_id", values="value").sort("image_id")
    reviewers = sorted(set(table.columns) - {"image_id"})
    matrix = table.select(reviewers).fill_null(MISSING).to_numpy()
    classes = classes_of(table["image_id"], sample)
    agreement = {"alpha": krippendorff(matrix, len(values), classes, intervals)}
    if len(reviewers) == 2:
        agreement["kappa"] = cohen(matrix, len(values), classes, intervals)
    return {
        **{
            f"{name}{end}": None if np.isnan(number) else number
            for name, numbers in agreement.items()
            for end, number in zip(("", "_low", "_high"), numbers, strict=True)
        },
        "twice": int(((matrix != MISSING).sum(axis=1) > 1).sum()),
        "judgements": len(rows),
        "reviewers": len(reviewers),
    }


def caption(defined: Values) -> str:
    """Say who judged what, and how judgements are counted."""
    reviewers, images, own = (defined[name] for name in ("reviewers", "images", "intervals"))
    people = "one reviewer" if reviewers == 1 else f"{reviewers} reviewers"
    return (
        f"What {people} decided on {images['judged']:,} of the {images['shown']:,} images of the "
        "review page. Share: "
        "of the responses that were decided (n), those of which the statement holds. A response "
        "judged by several reviewers counts once, as most of them decided; it is open where they "
        "said unsure, or no answer has the most votes. Failures are shown more often than "
        "they occur (each kind at least once), and so are counted apart from parsed responses, "
        "but for harm. Preferred: the teachers' responses to one image side by side, without names "
        "and in random order; of the images on which one of them was preferred. Equally good and "
        "both bad count for neither there, but as open; their own shares are of all images "
        "compared. Left side preferred: of all single judgements, near a half where sides do not "
        f"matter. {table_captions.intervals(defined)} Several judgements of one image count as one "
        "observation there. Alpha (Krippendorff's, for nominal values) and kappa (Cohen's, where "
        f"exactly two reviewers judged) have one from {own['least_of_coefficients']} images on "
        "that several judged, unless all agree, or all but on one (where classes are clusters: in "
        "one of these)."
    )


if __name__ == "__main__":
    snakemake = start_job()
    tabulate_review(
        snakemake.input.decisions,
        snakemake.input.reviewed,
        snakemake.input.sample,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
    )
