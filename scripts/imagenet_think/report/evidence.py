"""What a run's data and config show about its images and texts: the basis of what is claimed."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from imagenet_think.core.settings import Values
from imagenet_think.images import sources

ENGLISH = 95.0
"""Percentage of a teacher's responses that are recognized as English from which its texts are said
to be in English."""

IMAGENET, PIPELINE, USER, UNKNOWN = "imagenet", "pipeline", "user", "unknown"
"""Whose images they are, as far as the run shows it."""


class Evidence(NamedTuple):
    """What is known about a run.

    Attributes
    ----------
    images
        The row of the run's Table 2.
    owner
        Whose images they are.
    paper, card
        The same in words: they complete "The images of this run are …" in the paper and "Images: …"
        in the dataset card.
    imported
        For each teacher, whether its responses were made elsewhere, so that prompt, weights and
        decoding are not known.
    thinking
        For each teacher, how many of its responses have thinking that is known.
    english
        For each teacher, the percentage of responses recognized as English; None without responses.
    """

    images: Mapping[str, Any]
    owner: str
    paper: str
    card: str
    imported: tuple[bool, ...]
    thinking: tuple[int, ...]
    english: tuple[float | None, ...]

    @property
    def is_english(self) -> bool:
        """Whether the texts of every teacher are in English."""
        return all(share is not None and share >= ENGLISH for share in self.english)


def evidence(config: Values, images: Mapping[str, Any], language: pl.DataFrame) -> Evidence:
    """Return what is known about a run.

    Parameters
    ----------
    config
        `images.source.kind`, `teachers`, and `models.{teachers}.repository`.
    images
        The row of the run's Table 2.
    language
        The run's table of lengths and language.
    """
    kind = config["images"]["source"]["kind"]
    source, found = sources.get(kind), owner(kind, images)
    named = f", {names(images)}" if source.owner == IMAGENET else ""
    return Evidence(
        images=images,
        owner=found,
        paper=f"{source.paper}{named}",
        card=f"{source.paper if found == UNKNOWN else source.card}{named}",
        imported=tuple("repository" not in config["models"][key] for key in config["teachers"]),
        thinking=_rows(language, "tokens", "think")["n"],
        english=_rows(language, "english_percent", "full")["mean"],
    )


def _rows(language: pl.DataFrame, measure: str, part: str) -> dict[str, tuple[Any, ...]]:
    """Return the columns of a measure's rows, one row per teacher in their order."""
    return {
        name: tuple(column)
        for name, column in language.filter(measure=measure, part=part).to_dict().items()
    }


def owner(kind: str, images: Mapping[str, Any]) -> str:
    """Return whose images of a kind of source they are: ImageNet's only if all are named so."""
    declared = sources.get(kind).owner
    return UNKNOWN if declared == IMAGENET and _other_names(images) else declared


def names(images: Mapping[str, Any]) -> str:
    """Return in words how many of the images are named as ImageNet's files are."""
    other = _other_names(images)
    if not other:
        return "all named as ImageNet's files are"
    named = images["imagenet_names"]
    some = f"only {named:,} of {images['images']:,}" if named else "none"
    return f"{some} of them named as ImageNet's files are"


def _other_names(images: Mapping[str, Any]) -> int:
    return images["images"] - images["imagenet_names"]


def percentages(shares: Iterable[float | None]) -> str:
    """Return percentages with one decimal in words; None is "none"."""
    return " and ".join("none" if share is None else f"{share:.1f}%" for share in shares)
