"""Generate one model's responses to a few images before the whole run, into the run's journal."""

import json
from collections.abc import Sequence
from itertools import chain

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference.generation import Task, respond


def generate_pilot(
    task: Task,
    images: Sequence[str],
    responses: str,
    journal: str,
    count: int,
    evaluated: str | None = None,
) -> None:
    """Write the responses to some images of a block.

    They stay in the journal, where the run finds them, as this finds those of the run.

    Parameters
    ----------
    task, images, journal, evaluated
        As in `imagenet_think.inference.generation.respond`.
    responses
        Parquet to write, schema `RESPONSES`.
    count
        Number of images, spread evenly over the block; all if it has fewer.
    """
    shards = respond(task, images, journal, evaluated, limit=count)
    rows = list(chain.from_iterable(shards.values()))
    if len(rows) < count:
        logger.warning(
            "pilot.images is %d, but only %d images of the block are shown to every model",
            count,
            len(rows),
        )
    write_parquet(pl.DataFrame(rows, schema=RESPONSES), responses, RESPONSES)


if __name__ == "__main__":
    snakemake = start_job()
    generate_pilot(
        Task.of(snakemake.wildcards.model, snakemake.params, snakemake.threads),
        images=list(snakemake.input.images),
        responses=snakemake.output[0],
        journal=snakemake.params.journal,
        count=json.loads(snakemake.params.pilot)["pilot"]["images"],
        evaluated=snakemake.input.evaluated,
    )
