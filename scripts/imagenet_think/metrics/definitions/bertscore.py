"""BERTScore (Zhang et al., 2019): precision, recall and F1 of matched token embeddings."""

from imagenet_think.metrics import wording
from imagenet_think.metrics.registry import Measure, Metric, Settings


def definition(own: Settings) -> str:
    """Say how BERTScore is defined."""
    window = own["max_tokens"]
    read = {
        "first": f"the first {window} tokens of a text",
        "all": f"all tokens of a text, read {window} at a time",
    }
    weights = "with" if own["idf"] else "without"
    rescaled = "rescaled" if own["rescaled"] else "not rescaled"
    return (
        f"BERTScore is the {own['measures']['bertscore']['score'].upper()} of "
        f"{wording.encoder(own)}, layer {own['layer']}, {weights} idf weights and {rescaled}, of "
        f"{read[own['windows']]}, special tokens included{wording.precision(own)}."
    )


METRIC = Metric(
    name="bertscore",
    title="Semantic similarity",
    table=3,
    measures=(Measure("bertscore", "BERTScore", column="f1", brief=True),),
    columns=("precision", "recall", "f1"),
    coverage=True,
    bounded=False,
    encoder=True,
    definition=definition,
    facts=lambda settings, statistics: {
        "library": "bert-score",
        "idf": False,
        "rescaled": False,
    },
    implementation="metrics.bertscore",
    packages=("torch", "transformers"),
    tuning=("batch_size",),
    # The embeddings of 16 images' texts of 512 tokens and 1,024 dimensions take 700 MB; with all
    # their windows they may take several times that.
    images_at_once=lambda section: 16 if section["windows"] == "first" else 4,
    caveat=lambda settings: wording.other_encoder(
        "BERTScore",
        settings["bertscore"],
        known=("FacebookAI/roberta-large",),
        why="its values fit FacebookAI/roberta-large",
    ),
)
