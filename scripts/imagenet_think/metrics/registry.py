"""The metrics as they declare themselves, one module per metric in `metrics.definitions`.

Everything else that depends on which metrics there are (rules, schemas, aggregates, tables,
figures, captions) uses this registry. It is read whenever Snakemake plans a run, so it and the
declarations import nothing heavy; the code that computes scores is imported by `Metric.load`.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagenet_think.core import plugins

if TYPE_CHECKING:
    from imagenet_think.metrics.score_function import ScoreFunction

Settings = Mapping[str, Any]
"""The section `benchmark` of the config, or what a metric's `defined` returns."""

Statistics = Mapping[str, str | Path]
"""Paths of the files that metrics name in `statistics`, by these names."""

PACKAGE = "metrics.definitions"


@dataclass(frozen=True)
class Measure:
    """A number that a metric gives for a pair of texts, and that is averaged over images."""

    name: str
    """In aggregates and in the columns of tables, csv files and `resources/reported.yaml`."""
    heading: str | None = None
    """As printed; None for a measure that is aggregated only to replace another (`chosen_by`)."""
    short_heading: str | None = None
    """Where there is little room, if that differs."""
    macro: str | None = None
    """In the names of LaTeX macros, which hold no digits; see `macro_name`."""
    column: str | None = None
    """Of the scores file, if that differs from `name`."""
    brief: bool = False
    """Whether it is printed where there is no room for all measures."""
    chosen_by: str | None = None
    """Key of `benchmark` in the config whose value names the measure to print in its place."""

    @property
    def score_column(self) -> str:
        """Column of the scores file."""
        return self.column or self.name

    @property
    def macro_name(self) -> str:
        """Name in LaTeX macros: `macro`, or the letters of the measure's name."""
        return self.macro or re.sub("[^a-z]", "", self.name.lower()).capitalize()

    def printed(self, settings: Settings) -> str:
        """Return the name of the measure whose numbers are printed under this one's heading."""
        return settings[self.chosen_by] if self.chosen_by else self.name


@dataclass(frozen=True)
class Metric:
    """A metric: what it computes, where it runs, and how it is printed."""

    name: str
    """Of its module, its section in `benchmark` of the config and its folder in `scores/`."""
    title: str
    """What it measures, as a table's title; metrics of one table share it."""
    measures: tuple[Measure, ...]
    """What is aggregated and printed, in the order to print."""
    definition: Callable[[Settings], str]
    """Returns a sentence for captions that says how it is defined, given what `defined` returns."""
    facts: Callable[[Settings, Statistics], Mapping[str, Any]] = lambda settings, statistics: {}
    """Returns what else than its section of the config decides its numbers, as JSON values."""
    packages: tuple[str, ...] = ()
    """Libraries that compute it, as on PyPI. Another version computes all scores again."""
    implementation: str | None = None
    """Module of the package that has `load`, if not the declaration's own. Known scores are kept as
    long as its code and that of what it imports stays the same."""
    columns: tuple[str, ...] = ()
    """Of its scores files, if there are more than the measures'; each is there for both teachers,
    as `<column>_1` and `<column>_2`."""
    coverage: bool = False
    """Whether it may read a part of a text only: its files then hold the shares of tokens read."""
    encoder: bool = False
    """Whether it runs a neural encoder: on a GPU if there is one, in the environment `embeddings`
    instead of `texts`. If it names a `repository` in the config, its files are part of its key."""
    bounded: bool = True
    """Whether it is in the range from 0 to 1; otherwise it is in that of a cosine, from -1 to 1."""
    tuning: tuple[str, ...] = ()
    """Its keys in the config that change no score, such as the batch size."""
    statistics: tuple[str, ...] = ()
    """Files `statistics/<name>.parquet` that it needs, counted part by part over the texts of the
    whole run. Those of full outputs serve all parts, so that their scores are on one scale."""
    images_at_once: Callable[[Mapping[str, Any]], int] = lambda section: 64
    """How many images to score at once, given its section of the config: bounds the memory."""
    table: int | None = None
    """Number of the paper's table that prints it; None if it gets a table of its own."""
    caveat: Callable[[Settings], str | None] = lambda settings: None
    """Returns why its numbers cannot be compared with the paper's, or None if they can."""

    @property
    def lowest(self) -> float:
        """Smallest value that it can have; the largest is 1."""
        return 0.0 if self.bounded else -1.0

    @property
    def score_columns(self) -> tuple[str, ...]:
        """Columns of its scores files, without the number of the teacher."""
        return self.columns or tuple(measure.score_column for measure in self.measures)

    @property
    def printed(self) -> tuple[Measure, ...]:
        """Measures that have a heading."""
        return tuple(measure for measure in self.measures if measure.heading)

    @property
    def table_name(self) -> str:
        """Name of the table that prints it, as in `results/<run>/tables/<name>.csv`."""
        return self.name if self.table is None else f"table{self.table}"

    @property
    def module(self) -> str:
        """Module that has `load`, by its name in the package."""
        return self.implementation or f"{PACKAGE}.{self.name}"

    def defined(self, settings: Settings, statistics: Statistics) -> dict[str, Any]:
        """Return its definition in this run as data, from which its scores can be recomputed.

        `measures` has for each printed measure its heading and, as `score`, the column of scores.
        """
        known = measures()
        section = {key: own for key, own in settings[self.name].items() if key not in self.tuning}
        printed = {
            own.name: {
                "heading": own.heading,
                "score": known[own.printed(settings)].score_column,
            }
            for own in self.printed
        }
        more = self.facts(settings, statistics)
        return {"measures": printed, "bounded": self.bounded, **section, **more}

    def load(self, **settings: Any) -> "ScoreFunction":
        """Return the function that scores pairs.

        `settings` are its section of the config and, for `statistics`, the path of each file by
        its name, and the `part` whose rows to use.
        """
        return importlib.import_module(f"imagenet_think.{self.module}").load(**settings)


@cache
def metrics() -> tuple[Metric, ...]:
    """Return all metrics in the order of the paper's tables; those it does not print come last."""
    found = [plugins.get(PACKAGE, name).METRIC for name in plugins.names(PACKAGE)]
    return tuple(sorted(found, key=lambda metric: (metric.table or 100, metric.name)))


def get(name: str) -> Metric:
    """Return a metric by its name; a ValueError names those that there are."""
    return plugins.get(PACKAGE, name).METRIC


def measures() -> dict[str, Measure]:
    """Return all measures by name, in the order to print."""
    return {measure.name: measure for metric in metrics() for measure in metric.measures}


def printed() -> dict[str, Measure]:
    """Return the measures that have a heading by name, in the order to print."""
    return {name: measure for name, measure in measures().items() if measure.heading}


def tables() -> dict[str, tuple[Metric, ...]]:
    """Return the metrics of each table of benchmark scores, by the table's name."""
    found: dict[str, tuple[Metric, ...]] = {}
    for metric in metrics():
        found[metric.table_name] = (*found.get(metric.table_name, ()), metric)
    return found
