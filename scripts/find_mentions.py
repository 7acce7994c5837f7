"""Find out whether the answers of a shard name the classes of their images."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import polars as pl

from imagenet_think import mentions
from imagenet_think.files import write_parquet
from imagenet_think.logs import log_to, logger
from imagenet_think.parsing.statuses import OK
from imagenet_think.schemas import MENTIONS


def read_hypernyms(path: str | Path) -> dict[str, str]:
    """Return wnid and lemmas of the table of hypernyms (tab-separated)."""
    table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    return dict(table.select("wnid", "lemmas").iter_rows())


def search(
    answers: pl.DataFrame,
    sample: Mapping[str, str],
    names: Mapping[str, mentions.Names],
    seed: int,
) -> pl.DataFrame:
    """Return what each answer names.

    Parameters
    ----------
    answers
        Columns image_id, model and answer; null where there is none.
    sample
        Class of every sampled image, by image_id.
    names
        Names of every class, from `mentions.class_names`.
    seed
        Decides with which other class an image is compared, the same one for all models.

    Returns
    -------
    polars.DataFrame
        Schema `MENTIONS`, a row an answer; null where the image's class has no name to look for.
        `other` is null where all images are of one class.

    Raises
    ------
    ValueError
        If an image is not in the sample.
    """
    classes = sorted(set(sample.values()))

    @cache
    def indices(wnid: str) -> dict[str, mentions.Index]:
        return mentions.indices(names[wnid])

    rows = []
    for image_id, model, answer in answers.select("image_id", "model", "answer").iter_rows():
        if image_id not in sample:
            raise ValueError(f"annotations of {model}: image {image_id} is not in the sample")
        row = dict.fromkeys(MENTIONS) | {"image_id": image_id, "model": model}
        own = indices(sample[image_id])
        if answer is not None and own["synset"]:
            text = mentions.prepare(answer)
            row |= mentions.mentioned(text, own)
            other = mentions.other_class(seed, image_id, sample[image_id], classes)
            if other is not None:
                row["other"] = any(mentions.mentioned(text, indices(other)).values())
        rows.append(row)
    return pl.DataFrame(rows, schema=MENTIONS)


def find_mentions(
    annotations: str | Path,
    sample: str | Path,
    classes: str | Path,
    hypernyms: str | Path,
    output: str | Path,
    *,
    seed: int,
) -> None:
    """Search the answers of a file.

    Parameters
    ----------
    annotations
        Parquet of schema `ANNOTATIONS`. Only answers of parsed responses (status ok) are searched.
    sample, classes
        Parquets of schemas `SAMPLE` and `CLASSES`.
    hypernyms
        Lemmas of the hypernyms that are no classes (tab-separated; wnid, lemmas).
    output
        Parquet to write, schema `MENTIONS`.
    seed
        The run's seed.

    Raises
    ------
    ValueError
        If an image is not in the sample, or a class of the sample not among the classes.
    """
    table = pl.read_parquet(classes, columns=["wnid", "lemmas", "hypernym"])
    images = pl.read_parquet(sample, columns=["image_id", "wnid"])
    strange = images.join(table, on="wnid", how="anti")["wnid"].unique().sort()
    if len(strange):
        raise ValueError(f"{sample}: classes that {classes} lacks: {', '.join(strange)}")
    answers = pl.read_parquet(annotations).select(
        "image_id", "model", pl.when(pl.col("status") == OK).then("answer").alias("answer")
    )
    names = mentions.class_names(table, read_hypernyms(hypernyms))
    found = search(answers, dict(images.iter_rows()), names, seed)
    write_parquet(found, output, MENTIONS)
    logger.info(
        "%d answers, %d name their image's class",
        found["synset"].count(),
        found["synset"].sum(),
    )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    find_mentions(
        annotations=snakemake.input.annotations,
        sample=snakemake.input.sample,
        classes=snakemake.input.classes,
        hypernyms=snakemake.input.hypernyms,
        output=snakemake.output[0],
        **json.loads(snakemake.params.settings),
    )
