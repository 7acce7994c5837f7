"""What each metric can read of each model's texts: script, unknown tokens, no token."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.analysis.lengths import NON_LATIN_SHARE
from imagenet_think.core.job import start_job
from imagenet_think.core.numbers import percent
from imagenet_think.core.settings import Values, names
from imagenet_think.core.wording import series
from imagenet_think.metrics import registry
from imagenet_think.metrics.domain_limits import thresholds
from imagenet_think.metrics.registry import Metric
from imagenet_think.parsing import PARTS
from imagenet_think.report import definitions, table_captions
from imagenet_think.report.tables import MARK, WHOLE, Column, write_table

PERCENT = ".1%"

COLUMNS = [
    Column("shown", "Model"),
    Column("heading", "Metric", width=0.16),
    Column("texts", "n", format=WHOLE),
    Column("non_latin", "Not Latin", format=PERCENT),
    Column("no_token", "No token", format=PERCENT),
    Column("unknown", "[UNK]", format=PERCENT),
    Column("unread", "Not in words", format=PERCENT),
    Column("outside", "Outside", format=PERCENT),
]


def shares(domain: pl.LazyFrame, lengths: pl.LazyFrame, named: Values) -> pl.DataFrame:
    """Return the rows of the csv, one per model, part and metric.

    Parameters
    ----------
    domain, lengths
        Rows of schemas `DOMAIN` and `LENGTHS`.
    named
        Names of the models by key, in the order to print.

    Returns
    -------
    polars.DataFrame
        Shares of the texts (`non_latin`, `no_token`, `outside`), of the tokens (`unknown`) and of
        the letters and digits (`unread`, null where the tokens are an encoder's).
    """
    keys = ["model", "part"]
    scripts = lengths.drop_nulls("non_latin").group_by(keys).agg(pl.col("non_latin").mean())
    counts = domain.group_by(*keys, "metric").agg(
        pl.len().cast(pl.Int64).alias("texts"),
        (pl.col("tokens") == 0).mean().alias("no_token"),
        (pl.col("unknown").sum() / pl.col("tokens").sum()).fill_nan(None).alias("unknown"),
        (1 - pl.col("in_words").sum() / pl.col("letters").sum()).fill_nan(None).alias("unread"),
        pl.col("outside").is_not_null().mean().alias("outside"),
    )
    measured = counts.join(scripts, on=keys, how="left").rename({"model": "key"})
    order = pl.DataFrame({"model": list(named.values()), "key": list(named)})
    for name, values in (("part", PARTS), ("metric", [own.name for own in registry.metrics()])):
        order = order.join(pl.DataFrame({name: list(values)}), how="cross")
    return order.join(
        measured.collect(engine="streaming"),
        on=["key", "part", "metric"],
        how="left",
        maintain_order="left",
    ).select(*order.columns, "texts", "non_latin", "no_token", "unknown", "unread", "outside")


def tokens_of(metric: Metric, section: Values) -> Values:
    """Return what decides a metric's tokens: a pattern and stop words, or an encoder."""
    if metric.words is None:
        return section
    return dict(zip(("token_pattern", "stop_words"), metric.words(section), strict=True))


def _scan(paths: Sequence[str | Path]) -> pl.LazyFrame:
    return pl.scan_parquet(list(map(Path, paths)))


def caption(defined: Values) -> str:
    """Return the caption: what the shares are, and which numbers are marked."""
    outside = series(table_captions.outside(defined["domain"]).values(), "or")
    references = series(table_captions.teachers(defined))
    return (
        "What the metrics can read of the models' full outputs (n texts); the csv has thinking and "
        f"answer too. The texts of {references} are the references. Not Latin: texts of whose "
        f"letters at least {percent(defined['non_latin'])} are of other scripts. No token: texts "
        "without a token of the metric. [UNK]: tokens of an encoder that are unknown, or only a "
        "part of a character. Not in words: letters and digits outside the words that the metric "
        "reads, which are those whose tokens leave no letter out; clauses in scripts without "
        f"spaces do not count as words. Outside the metric's domain are texts {outside}. A mean "
        f"with such a text in at least {percent(defined['domain']['images'])} of its images is "
        f"marked with {MARK} in every table."
    )


def table_domain(
    domain: Sequence[str | Path], lengths: Sequence[str | Path], stem: str | Path, settings: Values
) -> None:
    """Write the table: the csv with every part, the others of full outputs.

    `domain` and `lengths` are parquet files of schemas `DOMAIN` and `LENGTHS`, of all models.
    `stem` is the path of the table without suffix.
    """
    named = names(settings)
    csv = shares(_scan(domain), _scan(lengths), named)
    headings = {
        metric.name: ", ".join(own.short_heading or own.heading or "" for own in metric.printed)
        for metric in registry.metrics()
    }
    frame = csv.filter(part="full").with_columns(
        pl.when(pl.col("key").is_first_distinct())
        .then("model")
        .otherwise(pl.lit(""))
        .alias("shown"),
        pl.col("metric").replace(headings).alias("heading"),
    )
    defined = {
        "references": definitions.models(settings["teachers"], settings),
        "models": definitions.models(named, settings),
        "texts": definitions.texts(),
        "tokens": {
            metric.name: tokens_of(metric, settings["benchmark"].get(metric.name, {}))
            for metric in registry.metrics()
        },
        "domain": thresholds(),
        "non_latin": NON_LATIN_SHARE,
    }
    write_table(frame, COLUMNS, defined, caption, stem, csv=csv, long=True)


if __name__ == "__main__":
    snakemake = start_job()
    table_domain(
        snakemake.input.domain,
        snakemake.input.lengths,
        Path(snakemake.output[0]).with_suffix(""),
        json.loads(snakemake.params.settings),
    )
