"""The numbers of the paper's Table 2, and how many images are named as ImageNet's files are."""

import polars as pl

from imagenet_think.report.tables import WHOLE, Column

COLUMNS = [
    Column("images", "Total images", format=WHOLE),
    Column("classes", "Total classes", format=WHOLE),
    Column("min_per_class", "Min. samples per class", format=WHOLE),
    Column("max_per_class", "Max. samples per class", format=WHOLE),
    Column("mean_per_class", "Avg. samples per class", format=".1f"),
    Column("imagenet_names", "Named as in ImageNet", format=WHOLE, printed=False),
]

IMAGENET_NAME = r"^n[0-9]{8}_[0-9]+$"
"""Names of ImageNet's files without their suffix: the WordNet id of the class, and a number."""


def summarize(sample: pl.DataFrame) -> pl.DataFrame:
    """Return the one row of Table 2.

    Parameters
    ----------
    sample
        One row per image, with columns wnid and image_id. Only classes with an image in the sample
        count.
    """
    counts = sample.group_by("wnid").len("images")["images"]
    return pl.DataFrame(
        {
            "images": [len(sample)],
            "classes": [len(counts)],
            "min_per_class": [counts.min()],
            "max_per_class": [counts.max()],
            "mean_per_class": [counts.mean()],
            "imagenet_names": [sample["image_id"].str.contains(IMAGENET_NAME).sum()],
        },
        schema_overrides={"mean_per_class": pl.Float64, "imagenet_names": pl.Int64},
    )
