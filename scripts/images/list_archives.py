"""List the images in archives or folders that hold images of many classes."""

import json

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images import labels
from imagenet_think.images.catalogue import list_places

if __name__ == "__main__":
    snakemake = start_job()
    source = json.loads(snakemake.params.settings)["images"]["source"]
    rows = list_places(
        source["kind"],
        source["path"],
        json.loads(snakemake.params.places)["places"],
        labels.read(
            snakemake.input.classes, source.get("labels"), source.get("count_classes", False)
        ),
    )
    write_parquet(rows, snakemake.output[0], CATALOGUE)
