"""Numbers of distinct words in groups of samples (section 4.3 of the paper)."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.hash_order import order_key
from imagenet_think.parsing.marks import ANSWER, THINK

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
"""A run of letters with apostrophes inside, matched in lower case with ’ as '."""

PARTS = (THINK, ANSWER)


def word_tokens(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD.findall(text.lower().replace("’", "'"))


def word_types(text: str) -> set[str]:
    """Return the distinct words of a text."""
    return set(word_tokens(text))


def sample_groups(image_ids: Iterable[str], seed: int, size: int) -> dict[str, int]:
    """Divide samples into groups of `size` in the seed's random order.

    Returns
    -------
    dict
        Group of each image, from 0. Samples beyond the last full group are left out; fewer than
        `size` samples are one group.
    """
    ordered = sorted(image_ids, key=lambda image_id: order_key(seed, "vocabulary", image_id))
    whole = len(ordered) // size * size or len(ordered)
    return {image_id: place // size for place, image_id in enumerate(ordered[:whole])}


def unique_words(annotations: Sequence[str | Path], groups: dict[str, int]) -> pl.DataFrame:
    """Count the distinct words of each group of samples.

    Parameters
    ----------
    annotations
        Parquet files of schema `ANNOTATIONS`, read one at a time.
    groups
        From `sample_groups`.

    Returns
    -------
    polars.DataFrame
        model, part, group, words: one row per group, model and part (think, answer), and one per
        group with model and part null for all its texts together.
    """
    # Each word is stored once, however many groups contain it.
    shared: dict[str, str] = {}
    found: dict[tuple[int, str, str], set[str]] = defaultdict(set)
    for path in annotations:
        frame = pl.read_parquet(path, columns=["image_id", "model", *PARTS])
        for row in frame.filter(pl.col("image_id").is_in(list(groups))).iter_rows(named=True):
            for part in PARTS:
                words = word_types(row[part] or "")
                found[groups[row["image_id"]], row["model"], part].update(
                    shared.setdefault(word, word) for word in words
                )
    together: dict[int, set[str]] = defaultdict(set)
    for (group, _, _), words in found.items():
        together[group] |= words
    rows: list[tuple[str | None, str | None, int, int]] = [
        (model, part, group, len(words)) for (group, model, part), words in found.items()
    ]
    rows += [(None, None, group, len(words)) for group, words in together.items()]
    schema = {"model": pl.String, "part": pl.String, "group": pl.Int64, "words": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("model", "part", "group")
