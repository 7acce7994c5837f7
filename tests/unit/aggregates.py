"""Aggregates whose numbers show where they come from, and settings of the tables made of them."""

from collections.abc import Callable, Iterable, Iterator

from configs import config

from imagenet_think.analysis.aggregation import COMPARED
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS

MEASURES = [*registry.printed()]  # in the order that numbers show, then the others
MEASURES += [name for name in registry.measures() if name not in MEASURES]
MODELS = ["b", "a"]
PRINTED = {name: name for name in MEASURES} | {"tfidf": "tfidf_pair"}
"""The measure that is printed under each name: of TF-IDF not the variant of the same name."""

SETTINGS = config(
    {
        "teachers": ["glm", "kimi"],
        "benchmarked": MODELS,
        "models": {
            "a": {"name": "Model_A", "output": "boxed"},
            "b": {"name": "Model B", "output": "think"},
            "glm": {"name": "GLM", "output": "think_answer"},
            "kimi": {"name": "Kimi", "output": "kimi"},
        },
        "benchmark/ablation_model": "a",
        "benchmark/printed_tfidf": PRINTED["tfidf"],
        "benchmark/vectors": {"token_pattern": r"\w+", "stop_words": "english"},
    }
)


def value(model: str, part: str, measure: str, aggregate: str) -> float:
    """Return a number that shows where it comes from."""
    number = 0.3 * MODELS.index(model) + 0.1 * ["full", "think", "answer"].index(part)
    return number + 0.01 * MEASURES.index(measure) + (0.005 if aggregate == "max" else 0)


def rows(
    number: Callable[[str, str, str, str], float] = value,
    models: Iterable[str] = ("a", "b"),
    parts: Iterable[str] = PARTS,
    above: float = 0,
    **columns: object,
) -> Iterator[dict[str, object]]:
    """Yield a row per model, part, measure and aggregate, each number `above` the function's."""
    for model in models:
        for part in parts:
            for measure in MEASURES:
                for aggregate in ("avg", "max"):
                    found = number(model, part, measure, aggregate) + above
                    row = {"model": model, "part": part, "metric": measure, "aggregate": aggregate}
                    row |= {"value": found, "low": found - 0.01, "high": found + 0.02}
                    row |= {"images": 140, "left_out": 4} if part == "full" else {"images": 130}
                    row |= {"no_response": 3 if model == "a" else 1}
                    yield on_the_same({"left_out": 14} | row | columns) | columns


def on_the_same(row: dict[str, object]) -> dict[str, object]:
    """Return an aggregate with its means over the same images: all that it is over."""
    for name in COMPARED:
        row |= {name: row["value"], f"{name}_images": row["images"]}
    return row
