"""Tables (parquet, JSON Lines or csv) that list images, such as a published dataset or responses.

All images that they list are the sample. Parquet files may hold the images' bytes (`pictures`).
"""

from imagenet_think.images.sources import Source

SOURCE = Source(
    paper="images known by name only",
    card="those that the run's files name, all of them",
    not_comparable="the images are those that a file names, not a sample drawn from ImageNet-21k",
    optional_keys=("labels", "count_classes", "image", "label", "pictures"),
    path_check="table",
)
