"""Find the images of a dataset in your own copy of the source."""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import LOCATED
from imagenet_think.dataset.hub_files import published_schema
from imagenet_think.images import sources


def locate_images(
    dataset: Sequence[str | Path], catalogue: str | Path, located: str | Path, kind: str
) -> None:
    """Write the members of a catalogue that have the name of an image of the dataset.

    `located` is a parquet of schema `LOCATED`, in the catalogue's order. It includes members that
    cannot be read, with reasons, and damaged parts of archives that may have held an image, with a
    null image_id. `kind` is `images.source.kind`.

    Raises
    ------
    ValueError
        If a file is not part of a dataset (`hub_files.published_schema`).
    """
    wanted: set[str] = set()
    for path in dataset:
        published_schema(path)
        wanted.update(pl.read_parquet(path, columns=["image_id"], glob=False)["image_id"])
    layout = sources.get_sampled(kind)
    members = pl.read_parquet(catalogue)
    names = [member and layout.image_id(member) for member in members["member"]]
    named = members.with_columns(pl.Series("image_id", names, pl.String))
    found = named.filter(
        pl.col("image_id").is_in(wanted)
        | pl.col("image_id").is_null() & pl.col("reason").is_not_null()
    )
    write_parquet(found, located, LOCATED)
    logger.info(
        "%d of %d members have the name of an image of the dataset",
        found["image_id"].count(),
        len(members),
    )


if __name__ == "__main__":
    snakemake = start_job()
    locate_images(
        list(snakemake.input.dataset),
        snakemake.input.catalogue,
        snakemake.output[0],
        kind=json.loads(snakemake.params.settings)["images"]["source"]["kind"],
    )
