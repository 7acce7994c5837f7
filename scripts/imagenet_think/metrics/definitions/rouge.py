"""ROUGE-1 and ROUGE-L (Lin, 2004): F1 of common words and of the longest common subsequence."""

from imagenet_think.metrics.registry import Measure, Metric, Settings


def definition(own: Settings) -> str:
    """Say how ROUGE is defined."""
    stemmer = "with" if own["stemmer"] else "without"
    return f"ROUGE is the F1 of {own['library']} {stemmer} stemming, ROUGE-L over the whole text."


METRIC = Metric(
    name="rouge",
    title="N-gram overlap",
    table=4,
    measures=(
        Measure("rouge1", "ROUGE-1", macro="RougeUnigram"),
        Measure("rougeL", "ROUGE-L", macro="RougeSequence", brief=True),
    ),
    definition=definition,
    facts=lambda settings, statistics: {"library": "rouge-score"},
    implementation="metrics.rouge",
    packages=("rapidfuzz", "nltk", "pyarrow"),
)
