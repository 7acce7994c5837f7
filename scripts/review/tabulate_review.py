"""Tabulate the reviewers' decisions: rates, preferences, and inter-rater agreement."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from imagenet_think.analysis.resampling import LEAST, Intervals, share
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.numbers import percent
from imagenet_think.core.schemas import REVIEWED
from imagenet_think.core.settings import Values, names
from imagenet_think.report.tables import WHOLE, Column, write_table
from imagenet_think.review.decisions import read_decisions
from imagenet_think.review.form import ANSWERS, FAILURE, PREFERRED, TIES
from imagenet_think.review.reliability import MISSING, cohen, krippendorff

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
    stem: str | Path,
    *,
    run: str,
    seed: int,
    teachers: Sequence[str],
    names: Mapping[str, str],
    intervals: Mapping[str, Any],
) -> None:
    """Write the table of the reviewers' decisions; ValueError if no file contains an answer.

    Parameters
    ----------
    decisions
        Files that reviewers exported.
    reviewed
        The page's sample, parquet of schema `REVIEWED`.
    stem
        Path of the table without extension.
    run, seed
        The run's name and seed.
    teachers, names
        Keys of teacher 1 and 2, and the models' names.
    intervals
        Number of draws and level of the intervals.
    """
    sample = pl.read_parquet(reviewed, schema=REVIEWED)
    found, reviewers = read_decisions(decisions, sample, run)
    if found.is_empty():
        raise ValueError(f"no decisions in {', '.join(map(str, decisions))}")
    rows = results(found, teachers, names, Intervals(**intervals, seed=seed))
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
        "images": {"judged": found["image_id"].n_unique(), "shown": len(sample)},
        "intervals": {**intervals, "shares": "Wilson", "resampled": "images", "least": LEAST},
    }
    write_table(rows, columns, defined, caption, stem)


def results(
    decisions: pl.DataFrame,
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
    teachers, names
        Keys of teacher 1 and 2, and the models' names.
    intervals
        Resampling for the intervals of alpha and kappa; the level holds for shares too.
    """
    found: list[tuple] = []
    for (question, statement), teacher in product(ASKED.items(), teachers):
        own = decisions.filter(question=question, model=teacher)
        if len(own):
            votes = _votes(own)
            numbers = votes["yes"], votes["no"], votes.total()
            found.append((question, statement, teacher, *numbers, _judged(own, ANSWERS, intervals)))
    compared = decisions.filter(question=PREFERRED)
    if len(compared):
        votes = _votes(compared)
        judged = _judged(compared, (*teachers, *TIES), intervals)
        for teacher, other in zip(teachers, reversed(teachers), strict=True):
            numbers = votes[teacher], votes[other], votes.total()
            found.append((PREFERRED, BETTER, teacher, *numbers, judged))
        counts = {name: judged[name] for name in COUNTS if name in judged}
        for value, statement in zip(TIES, (TIED, BAD), strict=True):
            numbers = votes[value], votes.total() - votes[value], votes.total()
            found.append((value, statement, None, *numbers, counts))
        left, right = (len(compared.filter(side=side)) for side in ("left", "right"))
        found.append(("left", LEFT, None, left, right, len(compared), counts))
    rows = []
    for question, statement, key, agreeing, other, total, judged in found:
        decided = agreeing + other
        shares = share(agreeing, decided, intervals.level) if decided else (None, None, None)
        row = {"question": question, "statement": statement, "key": key}
        row |= {"model": names[key] if key else ""}
        row |= dict(zip(("share", "share_low", "share_high"), shares, strict=True))
        row |= {"agreeing": agreeing, "decided": decided, "undecided": total - decided}
        rows.append(row | judged)
    return pl.DataFrame(rows, schema=SCHEMA)


def _votes(rows: pl.DataFrame) -> Counter[str]:
    """Return how many images have each value, which is the one that most reviewers gave.

    An image without such a value counts as `SPLIT`.
    """
    votes = rows.group_by("image_id", "value").len("votes")
    most = votes.filter(pl.col("votes") == pl.col("votes").max().over("image_id"))
    won = most.group_by("image_id").agg(
        pl.when(pl.len() == 1).then(pl.col("value").first()).otherwise(pl.lit(SPLIT)).alias("value")
    )
    return Counter(won["value"])


def _judged(rows: pl.DataFrame, values: Sequence[str], intervals: Intervals) -> dict[str, object]:
    """Return the reviewers' agreement on the images of some rows, with counts."""
    codes = rows.with_columns(
        pl.col("value").replace_strict({value: code for code, value in enumerate(values)})
    )
    table = codes.pivot("reviewer", index="image_id", values="value").sort("image_id")
    reviewers = sorted(set(table.columns) - {"image_id"})
    matrix = table.select(reviewers).fill_null(MISSING).to_numpy()
    agreement = {"alpha": krippendorff(matrix, len(values), intervals)}
    if len(reviewers) == 2:
        agreement["kappa"] = cohen(matrix, len(values), intervals)
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
        f"matter. Small: {percent(own['level'])} intervals; of shares {own['shares']}'s, of alpha "
        "(Krippendorff's, for nominal values) and kappa (Cohen's, where exactly two reviewers "
        f"judged) by resampling {own['resampled']}, from {own['least']} {own['resampled']} on that "
        "several judged."
    )


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    tabulate_review(
        snakemake.input.decisions,
        snakemake.input.reviewed,
        Path(snakemake.output[0]).with_suffix(""),
        run=settings["run"],
        seed=settings["seed"],
        teachers=settings["teachers"],
        names=names(settings),
        intervals=settings["benchmark"]["intervals"],
    )
