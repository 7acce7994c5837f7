"""Ask one model about a few images before the whole run, by the run's own way and journal."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import polars as pl

from generate_responses import respond, stop_when_told
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference.fingerprint import asked_with

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def generate_pilot(
    images: Sequence[str],
    responses: str,
    journal: str,
    settings: Mapping[str, Any],
    inference: Mapping[str, Any],
    threads: int,
    canary: Mapping[str, str] | None,
    count: int,
    evaluated: str | None = None,
) -> None:
    """Write the responses to some images of a block.

    They stay in the journal: the run will take them from there, as this does with those that the
    run has made already. How long it took is in the journal, not here.

    Parameters
    ----------
    images, journal, settings, inference, threads, canary, evaluated
        As for `generate_responses.respond`.
    responses
        Parquet to write, schema `RESPONSES`.
    count
        Number of images, spread evenly over the block; all where it has fewer.
    """
    found = respond(images, journal, settings, inference, threads, canary, evaluated, limit=count)
    rows = list(chain.from_iterable(found.rows.values()))
    if len(rows) < count:
        logger.warning(
            "%d images wanted (pilot.images), the block has %d that every model is asked about",
            count,
            len(rows),
        )
    write_parquet(pl.DataFrame(rows, schema=RESPONSES), responses, RESPONSES)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    stop_when_told()
    model, inference = snakemake.wildcards.model, json.loads(snakemake.params.inference)
    generate_pilot(
        images=list(snakemake.input.images),
        responses=snakemake.output[0],
        journal=snakemake.params.journal,
        settings=asked_with(json.loads(snakemake.params.settings), model),
        inference={**inference["inference"], "engines": inference["engines"]},
        threads=snakemake.threads,
        canary={
            "folder": snakemake.params.canary,
            "output": inference["models"][model]["output"],
        },
        count=json.loads(snakemake.params.pilot)["pilot"]["images"],
        evaluated=snakemake.input.evaluated,
    )
