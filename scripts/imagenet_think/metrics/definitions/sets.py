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
    implementation="metrics.token_overlap",
    packages=("scikit-learn", "scipy", "pyarrow"),
)
