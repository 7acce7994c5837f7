"""List the images in archives or folders that hold images of many classes."""

import json
from typing import TYPE_CHECKING

from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to
from imagenet_think.core.schemas import CATALOGUE
from imagenet_think.images.catalogue import list_places

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


if __name__ == "__main__":
    log_to(snakemake.log[0])
    source = json.loads(snakemake.params.settings)["images"]["source"]
    rows = list_places(
        source["kind"],
        source["path"],
        json.loads(snakemake.params.places)["places"],
        snakemake.input.classes,
        source.get("labels"),
    )
    write_parquet(rows, snakemake.output[0], CATALOGUE)
