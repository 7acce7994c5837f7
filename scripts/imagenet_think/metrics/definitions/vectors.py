"""Cosines of word counts: raw, and weighted by TF-IDF (section 5.3.4 of the paper)."""

from typing import Any

from imagenet_think.metrics import wording
from imagenet_think.metrics.registry import Measure, Metric, Settings, Statistics
from imagenet_think.parsing import PARTS

CORPUS_FITTED = "tfidf"
"""The value of `printed_tfidf` for which the corpus decides the scores."""

CAVEAT = "the paper does not say how it fitted these vectors, and exchanges their names in Table 7"
"""Holds for every run, the paper's too."""


def facts(settings: Settings, statistics: Statistics) -> dict[str, Any]:
    """Return what the pattern drops and, for each part, the corpus of its document frequencies.

    A corpus consists of the texts of both teachers in the part `of`: for every part of full
    outputs, so that a word has the same weight in all parts.
    """
    lost = wording.dropped(settings["vectors"]["token_pattern"])
    found = {"library": "scikit-learn", "dropped": lost}
    if settings["printed_tfidf"] != CORPUS_FITTED:
        return found
    import polars as pl

    counted = pl.scan_parquet(statistics["document_frequencies"]).filter(part=PARTS[0])
    documents = counted.select(pl.col("documents").max()).collect().item() or 0
    corpus = {"of": PARTS[0], "documents": documents}
    return found | {"corpora": dict.fromkeys(PARTS, corpus)}


def definition(own: Settings) -> str:
    """Say how both cosines are defined."""
    counted = "the two texts compared"
    for corpus in own.get("corpora", {}).values():  # the same for every part
        counted = (
            f"the {corpus['documents']:,} full outputs of both teachers, for every part alike, so "
            "that its values change with the run"
        )
    return (
        f"Vectors count {wording.tokens(own)}; TF-IDF takes document frequencies counted over "
        f"{counted} (variant {own['measures']['tfidf']['score']}), and Cosine Similarity is of raw "
        "counts. The paper does not say how its two were fitted."
    )


METRIC = Metric(
    name="vectors",
    title="Vector-space similarity",
    table=6,
    measures=(
        Measure("tfidf", "TF-IDF Cosine Similarity", chosen_by="printed_tfidf"),
        Measure("tfidf_pair"),
        Measure("cosine", "Cosine Similarity"),
    ),
    definition=definition,
    facts=facts,
    implementation="metrics.tfidf",
    packages=("scikit-learn", "scipy", "pyarrow"),
    statistics=("document_frequencies",),
    # Each batch looks up its terms in the document frequencies: large batches share more of them.
    images_at_once=lambda section: 256,
    caveat=lambda settings: CAVEAT,
)
