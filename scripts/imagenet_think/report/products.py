"""Every table and figure of a run, and what else its HTML report shows.

To add a table or a figure, write its script in `scripts/report/` and add a row to `PRODUCTS`. The
rules, the targets `tables` and `figures`, the pages, the HTML report, the paper's inputs and
`status` follow from the row. No script imports this module: an edited title reruns nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from imagenet_think.metrics import registry

PAPER, FURTHER = "Tables of the paper", "Further tables"
FIGURES, RUN = "Figures", "The run"

TABLE_FILES = (".csv", ".tex", ".md", ".definitions.json")
"""How the names of a table's files end."""


@dataclass(frozen=True)
class ReportEntry:
    """An entry of the HTML report, in the list `category`.

    `name` is the stem of its file. `title` is also the message of the rule that makes it. `about`
    says what it shows in a sentence or two; `{ablation_model}` is replaced by that model's name.
    """

    name: str
    title: str
    about: str
    category: str = RUN

    @property
    def markdown(self) -> str:
        """The Markdown file in the run's folder that its page is rendered from."""
        return f"{self.name}.md"


@dataclass(frozen=True, kw_only=True)
class Product(ReportEntry):
    """A table (csv, LaTeX, Markdown, its definitions and a page) or a figure (PDF and PNG).

    Attributes
    ----------
    script
        Name of its script and of the rule. One job writes all rows of the same script.
    inputs
        The script's input files, by name. In their paths, `{run}` is the run's folder, and
        `{teachers}`, `{models}`, `{shards}`, `{datasets}`, `{metrics}` and `{statistics}` (those
        that metrics name) give one file for each.
        A key of the config in braces is replaced by the files that this key names.
    reads
        The keys of the config that the script reads, as rules declare them.
    stage
        Folder of the script. The targets `tables` and `figures` make those of the stage report.
    needs_pictures
        Whether it shows images; a run that has only the names of its images leaves it out.
    in_paper
        Whether it is among the inputs of the paper, which prints it with `\\input` or
        `\\includegraphics`.
    """

    category: str = field(default=FURTHER, kw_only=False)
    script: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    stage: Literal["report", "review"] = "report"
    needs_pictures: bool = False
    in_paper: bool = True

    @property
    def is_figure(self) -> bool:
        """Whether it is a figure, and not a table."""
        return self.category == FIGURES

    @property
    def markdown(self) -> str:
        """The Markdown file in the run's folder that its page is rendered from."""
        return f"tables/{self.name}.md"

    @property
    def files(self) -> list[str]:
        """Its files in the run's folder."""
        if self.is_figure:
            return [f"figures/{self.name}{form}" for form in (".pdf", ".png")]
        return [f"tables/{self.name}{form}" for form in TABLE_FILES]


_SAMPLE = "{run}/images/sample.parquet"
_ANNOTATIONS = "{run}/annotations/{teachers}/{shards}.parquet"
_LENGTHS = "{run}/statistics/lengths/{teachers}/{shards}.parquet"
_AGGREGATE = "{run}/scores/{metrics}/aggregate.parquet"
_GROUPS = "{run}/scores/{metrics}/groups.parquet"
_DIFFERENCES = "{run}/scores/{metrics}/differences.parquet"
_AGREEMENT = "{run}/agreement/aggregate.parquet"
_EXAMPLES = {
    "sample": _SAMPLE,
    "images": "{run}/images/shards/{shards}.parquet",
    "annotations": _ANNOTATIONS,
}

_STATISTICS = "{run}/statistics/{statistics}.parquet"

_DEFINITIONS = ("benchmark.printed_tfidf", "benchmark.{metrics}.{setting}")
"""Keys that the definitions of metrics are made of."""

_TEACHERS = ("teachers", "models.{teachers}.name")
_BENCHMARK = (
    *_TEACHERS,
    "benchmarked",
    "models.{benchmarked}.name",
    "benchmark.missing",
    "benchmark.intervals",
    *_DEFINITIONS,
)
_EXAMPLE = (
    *("seed", "prompt", "prompts.{prompt}", *_TEACHERS, "models.{teachers}.repository"),
    "figures.samples",
)


def _tables_of_scores() -> Iterator[Product]:
    """Yield the tables of scores that the metrics name; one rule makes them all."""
    for name, metrics in registry.tables().items():
        title, number = metrics[0].title, metrics[0].table
        short = [own.short_heading or own.heading for one in metrics for own in one.printed]
        yield Product(
            name,
            f"Table {number}: {title[0].lower()}{title[1:]}" if number else title,
            f"{title} of the models' full outputs and the teachers' texts, by "
            f"{' and '.join(map(str, short))}: the average and the maximum over the two teachers, "
            "as means over images with their intervals.",
            PAPER if number else FURTHER,
            script="table_benchmark",
            in_paper=number is not None,
        )


PRODUCTS = (
    Product(
        "table1",
        "Table 1: comparison with other datasets",
        "The dataset of this run compared with the others of the paper's Table 1: images, and "
        "tokens per sample. Datasets that were not counted here have the paper's numbers.",
        PAPER,
        script="table_datasets",
        inputs={
            "sample": _SAMPLE,
            "lengths": _LENGTHS,
            "counts": "{run}/statistics/datasets/{datasets}.csv",
            "reported": "resources/reported.yaml",
        },
        reads=("run", "teachers", "statistics.tokenizer"),
    ),
    Product(
        "table2",
        "Table 2: images and classes",
        "Images and classes of the sample.",
        PAPER,
        script="table_images",
        inputs={"sample": _SAMPLE},
    ),
    *_tables_of_scores(),
    Product(
        "table7",
        "Table 7: thinking and answer",
        "Full output, thinking and answer of {ablation_model} in every metric, each part compared "
        "with the same part of the teachers' texts.",
        PAPER,
        script="table_ablation",
        inputs={"aggregate": _AGGREGATE, "statistics": _STATISTICS},
        reads=(
            *_TEACHERS,
            "models.{teachers}.output",
            "models.{ablation_model}.name",
            "models.{ablation_model}.output",
            "benchmark.ablation_model",
            "benchmark.missing",
            "benchmark.intervals",
            *_DEFINITIONS,
        ),
    ),
    Product(
        "agreement",
        "Agreement between the teachers",
        "Agreement between the two teachers' texts on the same image, compared with that of each "
        "teacher's texts on different images: a scale for reading the models' scores.",
        script="table_agreement",
        inputs={"aggregate": _AGREEMENT, "statistics": _STATISTICS},
        reads=("seed", *_TEACHERS, "benchmark.intervals", *_DEFINITIONS),
    ),
    Product(
        "agreement_domains",
        "Agreement by domain",
        "Agreement between the teachers, by domain of the image.",
        script="table_agreement",
    ),
    Product(
        "groups",
        "Scores by domain and complexity",
        "Scores of the models by domain of the image, and by its visual complexity within its "
        "class.",
        script="table_groups",
        inputs={"groups": _GROUPS, "aggregate": _AGGREGATE, "statistics": _STATISTICS},
        reads=(*_BENCHMARK, "statistics.tokenizer"),
    ),
    Product(
        "language",
        "Length and language",
        "Length, vocabulary and script of the teachers' texts (sections 4.2 and 4.3 of the paper).",
        script="table_language",
        inputs={"sample": _SAMPLE, "annotations": _ANNOTATIONS, "lengths": _LENGTHS},
        reads=("seed", *_TEACHERS, "statistics.tokenizer"),
    ),
    Product(
        "mentions",
        "Answers that name the class",
        "How often a model's answer names the class of the image, or a class directly above or "
        "below it, compared with how often that happens by chance.",
        script="table_mentions",
        inputs={
            "mentions": "{run}/statistics/mentions/{models}/{shards}.parquet",
            "sample": _SAMPLE,
        },
        reads=(
            "seed",
            "teachers",
            "benchmarked",
            "models.{models}.name",
            "benchmark.intervals.level",
        ),
    ),
    Product(
        "parts",
        "Thinking against answer",
        "Thinking against answer of every model, over all images and by length of the response.",
        script="table_parts",
        inputs={"aggregate": _AGGREGATE, "groups": _GROUPS, "statistics": _STATISTICS},
        reads=(*_BENCHMARK, "statistics.tokenizer"),
    ),
    Product(
        "ranks",
        "Ranks of the models",
        "Ranks of the models in every metric. Where an interval spans several ranks, the "
        "differences between these models are not significant.",
        script="table_ranks",
        inputs={"differences": _DIFFERENCES, "aggregate": _AGGREGATE, "statistics": _STATISTICS},
        reads=_BENCHMARK,
    ),
    Product(
        "review",
        "Decisions of the reviewers",
        "What reviewers decided about each teacher's responses, and how far they agree.",
        script="tabulate_review",
        inputs={"decisions": "{review.decisions}", "reviewed": "{run}/review/sample.parquet"},
        reads=("run", "seed", *_TEACHERS, "benchmark.intervals"),
        stage="review",
        in_paper=False,
    ),
    Product(
        "figure_organisation",
        "Figure 1: how a sample is organised",
        "Structure of a sample: an image, the prompt, and each teacher's thinking and answer "
        "(Figure 1 of the paper).",
        FIGURES,
        script="figure_organisation",
        inputs=_EXAMPLES,
        reads=_EXAMPLE,
        needs_pictures=True,
    ),
    Product(
        "figure_sample",
        "Figure 2: one sample in full",
        "One sample in full, with the texts of both teachers (Figure 2 of the paper).",
        FIGURES,
        script="figure_sample",
        inputs=_EXAMPLES,
        reads=_EXAMPLE,
        needs_pictures=True,
    ),
    Product(
        "figure_coverage",
        "Images and classes by domain",
        "Images and classes of the sample by domain.",
        FIGURES,
        script="figure_coverage",
        inputs={"sample": _SAMPLE, "classes": "{run}/images/classes.parquet"},
    ),
    Product(
        "figure_lengths",
        "Lengths by teacher and part",
        "Lengths of the teachers' full outputs, thinking and answers, in tokens.",
        FIGURES,
        script="figure_lengths",
        inputs={"lengths": _LENGTHS},
        reads=(*_TEACHERS, "statistics.tokenizer.repository"),
    ),
    Product(
        "figure_scores",
        "Scores by model",
        "Scores of the models in every metric, with their intervals.",
        FIGURES,
        script="figure_scores",
        inputs={"aggregate": _AGGREGATE},
        reads=("benchmarked", "models.{benchmarked}.name", "benchmark.printed_tfidf"),
    ),
    Product(
        "figure_agreement",
        "Agreement between the teachers",
        "Agreement between the two teachers' texts in every metric, on the same image and on "
        "different ones.",
        FIGURES,
        script="figure_agreement",
        inputs={"aggregate": _AGREEMENT},
        reads=(*_TEACHERS, "benchmark.printed_tfidf"),
    ),
    Product(
        "figure_review",
        "What reviewers decided",
        "What reviewers decided about the teachers' responses, and which teacher they prefer in a "
        "blind comparison.",
        FIGURES,
        script="figure_review",
        inputs={"table": "{run}/tables/review.csv"},
        reads=_TEACHERS,
        stage="review",
        in_paper=False,
    ),
)

ACCOUNTS = (
    ReportEntry(
        "accounting",
        "Accounting of all images",
        "What happened to every image with every model: done, failed for a named reason, or "
        "excluded.",
    ),
    ReportEntry(
        "audit",
        "Audit of the paper",
        "The paper's statements checked against its own numbers: definite contradictions, those "
        "that depend on an interpretation, and those shown by quotation only; and how this project "
        "interprets what the paper leaves open. The same for every run.",
    ),
    ReportEntry(
        "comparison",
        "Comparison with the paper",
        "Each number that the paper prints, the one of this run, their difference, whether the "
        "paper's is within this run's interval, and, where the two cannot be compared, why.",
    ),
    ReportEntry(
        "cost",
        "Cost of the responses",
        "Tokens, seconds and hours that the responses took, by model, compared with the paper's "
        "GPU hours.",
    ),
)
"""Markdown files in the run's folder that are rendered as pages, as tables are."""

CHECKPOINTS = ReportEntry(
    "checkpoints",
    "Requirements of the models",
    "The parameters of every model, built without its weights, and the memory it needs.",
)
"""A page that only the target `checkpoints` makes."""

SAMPLING = ReportEntry(
    "sampling",
    "Sampling",
    "The sample in numbers, and contact sheets of rejected images, by reason.",
)


def tables(stage: str = "report") -> list[Product]:
    """Return the tables of a stage."""
    return [product for product in PRODUCTS if product.stage == stage and not product.is_figure]


def figures(stage: str = "report", pictures: bool = True) -> list[Product]:
    """Return the figures of a stage; without pictures, those that show none."""
    found = [product for product in PRODUCTS if product.stage == stage and product.is_figure]
    return [product for product in found if pictures or not product.needs_pictures]


def by_script(stage: str) -> dict[str, list[Product]]:
    """Return the products that each script of a stage writes, by the script's name."""
    found: dict[str, list[Product]] = {}
    for product in PRODUCTS:
        if product.stage == stage:
            found.setdefault(product.script, []).append(product)
    return found


def keys(stage: str) -> set[str]:
    """Return the keys of the config that a stage's products read, or whose files they read."""
    found: set[str] = set()
    for product in PRODUCTS:
        if product.stage == stage:
            found |= {*product.reads, *filter(None, map(named_key, product.inputs.values()))}
    return found


def named_key(pattern: str) -> str | None:
    """Return the key of the config whose files replace an input pattern, if it is one."""
    found = re.fullmatch(r"\{(\w+(?:\.\w+)+)\}", pattern)
    return found[1] if found else None
