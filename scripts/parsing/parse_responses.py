"""Parse the responses of a block into thinking and answer (section 3.2, output formatting)."""

import json
from pathlib import Path

import polars as pl

from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import ANNOTATIONS
from imagenet_think.parsing import parse
from imagenet_think.parsing.marks import ANSWER, THINK
from imagenet_think.parsing.statuses import OK


def parse_responses(responses: str | Path, annotations: str | Path, output_format: str) -> None:
    """Parse every response of a file.

    Parameters
    ----------
    responses
        Parquet of schema `RESPONSES`.
    annotations
        Parquet to write, of schema `ANNOTATIONS`: one row per response, in the same order.
    output_format
        One of `imagenet_think.parsing.FORMATS`.

    Raises
    ------
    ValueError
        If a row's finish reason is unknown; the message names file and image.
    """
    frame = pl.read_parquet(responses, columns=["image_id", "model", "text", "finish_reason"])
    rows = []
    for image_id, model, text, finish_reason in frame.iter_rows():
        try:
            parsed = parse(output_format, text, finish_reason)
        except ValueError as error:
            raise ValueError(f"{responses}, image {image_id}: {error}") from error
        rows.append({"image_id": image_id, "model": model, **parsed._asdict()})
    parsed_rows = pl.DataFrame(rows, schema=ANNOTATIONS)
    for status, count in sorted(parsed_rows["status"].value_counts().iter_rows()):
        logger.info("%s: %s: %d of %d", responses, status, count, len(parsed_rows))
    known = ((parsed_rows[f"{part}_status"] == OK).sum() for part in (THINK, ANSWER))
    logger.info("%s: thinking is known in %d responses, the answer in %d", responses, *known)
    write_parquet(parsed_rows, annotations, ANNOTATIONS)


if __name__ == "__main__":
    snakemake = start_job()
    models = json.loads(snakemake.params.settings)["models"]
    output_format = models[snakemake.wildcards.model]["output"]
    for responses, annotations in zip(snakemake.input, snakemake.output, strict=True):
        parse_responses(responses, annotations, output_format)
