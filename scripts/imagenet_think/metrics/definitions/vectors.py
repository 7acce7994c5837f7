"""Cosines of word counts: raw, and weighted by TF-IDF (section 5.3.4 of the paper)."""

from imagenet_think.metrics import wording
from imagenet_think.metrics.registry import Measure, Metric, Settings

TFIDF = {
    "tfidf": (
        "document frequencies counted over the references of this run, with which its values "
        "change (variant tfidf)"
    ),
    "tfidf_pair": "document frequencies counted over the two texts compared (variant tfidf_pair)",
}
"""The values of `printed_tfidf`, in words."""

CAVEAT = "the paper does not say how it fitted these vectors, and exchanges their names in Table 7"
"""Holds for every run, the paper's too."""


def definition(settings: Settings) -> str:
    """Say how both cosines are defined in this run."""
    return (
        f"Vectors count {wording.tokens(settings['vectors'])}; TF-IDF takes "
        f"{TFIDF[settings['printed_tfidf']]}, and Cosine Similarity is of raw counts. The paper "
        "does not say how its two were fitted."
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
    words=lambda section: (section["token_pattern"], section["stop_words"]),
    implementation="metrics.tfidf",
    earlier=("4734b495e64214b6c1f7497f3d16866307262e29dbb54f9f76ffe8f9a70ef6d4",),
    packages=("scikit-learn", "scipy", "pyarrow"),
    tokenized=("token_pattern", "stop_words"),
    statistics=("document_frequencies",),
    # Each batch looks up its terms in the document frequencies: large batches share more of them.
    images_at_once=lambda section: 256,
    caveat=lambda settings: CAVEAT,
)
