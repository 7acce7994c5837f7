"""Generate one model's responses to the images of a block (section 3.2, item 3)."""

from collections.abc import Sequence

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference.generation import Task, respond


def generate_responses(
    task: Task,
    images: Sequence[str],
    responses: Sequence[str],
    journal: str,
    evaluated: str | None = None,
) -> None:
    """Write one model's responses to the images of a block.

    Parameters
    ----------
    task, images, journal, evaluated
        As in `imagenet_think.inference.generation.respond`.
    responses
        The files to write, one for each of `images` (schema `RESPONSES`), with rows in their order.
    """
    shards = respond(task, images, journal, evaluated)
    for rows, out in zip(shards.values(), responses, strict=True):
        write_parquet(pl.DataFrame(rows, schema=RESPONSES), out, RESPONSES)


if __name__ == "__main__":
    snakemake = start_job()
    generate_responses(
        Task.of(snakemake.wildcards.model, snakemake.params, snakemake.threads),
        images=list(snakemake.input.images),
        responses=list(snakemake.output),
        journal=snakemake.params.journal,
        evaluated=next(iter(snakemake.input.evaluated), None),
    )
