"""Jaccard index and overlap coefficient of the sets of tokens (section 5.3.3 of the paper)."""

from imagenet_think.metrics import wording
from imagenet_think.metrics.registry import Measure, Metric

METRIC = Metric(
    name="sets",
    title="Lexical set overlap",
    table=5,
    measures=(Measure("jaccard", "Jaccard Index"), Measure("overlap", "Overlap Coefficient")),
    definition=lambda own: f"Sets are of {wording.tokens(own)}.",
    facts=lambda settings, statistics: {
        "library": "scikit-learn",
        "dropped": wording.dropped(settings["sets"]["token_pattern"]),
    },
    words=lambda section: (section["token_pattern"], section["stop_words"]),
    implementation="metrics.token_overlap",
    earlier=("f553d09fce6124a30be8a9d9a96bd1ac3ae01753e5e3e8b03463eff64b653017",),
    packages=("scikit-learn", "scipy", "pyarrow"),
    tokenized=("token_pattern", "stop_words"),
)
