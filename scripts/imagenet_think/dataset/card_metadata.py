"""The YAML front matter of the dataset card, which the Hugging Face hub and `datasets` read."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from imagenet_think.core.settings import Values
from imagenet_think.dataset import hub_files, publication

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
"""The hub's size categories, from up to three digits to eight."""


def front_matter(title: str, config: Values, full: bool, files: Sequence[str | Path]) -> str:
    """Return the front matter without its fences, given the dataset's printed name and files.

    It reads `images.source.kind` and `dataset.license` of the config; a `full` dataset has images.
    """
    rows, sizes = hub_files.count_rows(files), hub_files.count_bytes(files)
    schemas = hub_files.schemas(full)
    configurations = hub_files.data_files(rows)
    front = {
        "pretty_name": title,
        **license_fields(config, full),
        "language": ["en"],
        "task_categories": ["image-text-to-text"],
        "size_categories": [size_category(rows.total())],
        "annotations_creators": ["machine-generated"],
        "tags": list(publication.KEYWORDS),
        "configs": configurations,
        "dataset_info": [
            {
                "config_name": (name := each["config_name"]),
                "features": [
                    {"name": column, "dtype": feature.get("dtype", "image")}
                    for column, feature in hub_files.features(schemas[name]).items()
                ],
                "splits": [
                    {
                        "name": (split := data["split"]),
                        "num_bytes": sizes[name, split],
                        "num_examples": rows[name, split],
                    }
                    for data in each["data_files"]
                ],
            }
            for each in configurations
        ],
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)


def size_category(rows: int) -> str:
    """Return the hub's category for a number of rows."""
    return SIZES[max(len(str(rows)) - 3, 0)]


def license_fields(config: Values, full: bool) -> dict[str, str]:
    """Return the licence in the hub's fields: the texts', or the images' if there are any."""
    owner = publication.source(config).owner
    if not full or owner == "pipeline":
        return {"license": config["dataset"]["license"]}
    if owner == "user":
        return {"license": "unknown"}
    terms = publication.IMAGENET_TERMS
    return {"license": "other", "license_name": "imagenet", "license_link": terms}
