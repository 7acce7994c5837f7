"""Measure the lengths of a block's texts by one model, and whether answers name the class."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.analysis import label_mentions
from imagenet_think.analysis.label_mentions import ClassNames
from imagenet_think.analysis.lengths import load_tokenizer, measure
from imagenet_think.core.files import write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.schemas import LENGTHS, MENTIONS
from imagenet_think.parsing.statuses import OK


def read_hypernyms(path: str | Path) -> dict[str, str]:
    """Read the table of hypernyms (tab-separated): lemmas by wnid."""
    table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    return dict(table.select("wnid", "lemmas").iter_rows())


def search(
    answers: pl.DataFrame,
    sample: Mapping[str, str],
    names: Mapping[str, ClassNames],
    seed: int,
) -> pl.DataFrame:
    """Find out whether each answer names its image's class.

    Parameters
    ----------
    answers
        Columns image_id, model and answer; answer is null where there is none.
    sample
        Class of every sampled image, by image_id.
    names
        Names of every class, from `label_mentions.class_names`.
    seed
        Chooses the other class that an image is compared with, the same for all models.

    Returns
    -------
    polars.DataFrame
        Schema `MENTIONS`, one row per answer; null where the image's class has no name to search
        for. `other` is null where all images are of one class.

    Raises
    ------
    ValueError
        If an image is not in the sample.
    """
    classes = sorted(set(sample.values()))

    @cache
    def indices(wnid: str) -> dict[str, label_mentions.Index]:
        return label_mentions.indices(names[wnid])

    rows = []
    for image_id, model, answer in answers.select("image_id", "model", "answer").iter_rows():
        if image_id not in sample:
            raise ValueError(f"annotations of {model}: image {image_id} is not in the sample")
        row = dict.fromkeys(MENTIONS) | {"image_id": image_id, "model": model}
        own = indices(sample[image_id])
        if answer is not None and own["synset"]:
            text = label_mentions.prepare(answer)
            row |= label_mentions.mentioned(text, own)
            other = label_mentions.other_class(seed, image_id, sample[image_id], classes)
            if other is not None:
                row["other"] = any(label_mentions.mentioned(text, indices(other)).values())
        rows.append(row)
    return pl.DataFrame(rows, schema=MENTIONS)


def class_names(
    sample: str | Path, classes: str | Path, hypernyms: str | Path
) -> tuple[dict[str, str], dict[str, ClassNames]]:
    """Return the class of every sampled image, and the names of every class.

    Parameters
    ----------
    sample, classes
        Parquets of schemas `SAMPLE` and `CLASSES`.
    hypernyms
        Lemmas of the hypernyms that are not classes themselves (tab-separated; wnid, lemmas).

    Raises
    ------
    ValueError
        If a class of the sample is not among the classes.
    """
    table = pl.read_parquet(classes, columns=["wnid", "lemmas", "hypernym"])
    images = pl.read_parquet(sample, columns=["image_id", "wnid"])
    unknown = images.join(table, on="wnid", how="anti")["wnid"].unique().sort()
    if len(unknown):
        raise ValueError(f"{sample}: classes that {classes} lacks: {', '.join(unknown)}")
    return dict(images.iter_rows()), label_mentions.class_names(table, read_hypernyms(hypernyms))


def measure_shard(
    annotations: pl.DataFrame,
    class_of: Mapping[str, str],
    names: Mapping[str, ClassNames],
    tokenizer: Any,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Measure every response of a shard.

    Parameters
    ----------
    annotations
        Schema `ANNOTATIONS`. All parts are measured; answers that are known (answer_status ok) are
        searched for the names of the class.
    class_of, names
        From `class_names`.
    tokenizer
        From `imagenet_think.analysis.lengths.load_tokenizer`.
    seed
        The run's seed.

    Returns
    -------
    tuple
        Three rows per response of schema `LENGTHS`, and one of schema `MENTIONS`.
    """
    known = pl.when(pl.col("answer_status") == OK).then("answer").alias("answer")
    answers = annotations.select("image_id", "model", known)
    return measure(annotations, tokenizer), search(answers, class_of, names, seed)


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    class_of, names = class_names(
        snakemake.input.sample, snakemake.input.classes, snakemake.input.hypernyms
    )
    tokenizer = load_tokenizer(**settings["statistics"]["tokenizer"])
    for source, lengths_file, mentions_file in zip(
        snakemake.input.annotations,
        snakemake.output.lengths,
        snakemake.output.mentions,
        strict=True,
    ):
        annotations = pl.read_parquet(source)
        lengths, found = measure_shard(annotations, class_of, names, tokenizer, settings["seed"])
        write_parquet(lengths, lengths_file, LENGTHS)
        write_parquet(found, mentions_file, MENTIONS)
        logger.info(
            "%s: %d responses, %d tokens; %d answers, %d name their image's class",
            *(source, len(annotations), lengths.filter(part="full")["tokens"].sum()),
            *(found["synset"].count(), found["synset"].sum()),
        )
