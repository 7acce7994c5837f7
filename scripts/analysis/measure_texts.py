"""Measure the texts of one model and block: their lengths, and whether answers name the class."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from imagenet_think.analysis import label_mentions
from imagenet_think.analysis.lengths import load_tokenizer, measure
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, logger
from imagenet_think.core.schemas import LENGTHS, MENTIONS
from imagenet_think.parsing.statuses import OK

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake


def read_hypernyms(path: str | Path) -> dict[str, str]:
    """Return wnid and lemmas of the table of hypernyms (tab-separated)."""
    table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    return dict(table.select("wnid", "lemmas").iter_rows())


def search(
    answers: pl.DataFrame,
    sample: Mapping[str, str],
    names: Mapping[str, label_mentions.Names],
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
        Schema `MENTIONS`, one row per answer; null where the image's class has no name to look for.
        `other` is null where all images are of one class.

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
) -> tuple[dict[str, str], dict[str, label_mentions.Names]]:
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


def measure_texts(
    annotations: Sequence[str | Path],
    sample: str | Path,
    classes: str | Path,
    hypernyms: str | Path,
    lengths: Sequence[str | Path],
    mentioned: Sequence[str | Path],
    *,
    repository: str,
    revision: str | None,
    seed: int,
) -> None:
    """Measure every response of some shards, one shard after the other.

    Parameters
    ----------
    annotations
        One Parquet of schema `ANNOTATIONS` per shard. All parts are measured; only answers of
        parsed responses (status ok) are searched for the class's names.
    sample, classes, hypernyms
        See `class_names`.
    lengths
        Parquets to write, schema `LENGTHS`: three rows per response.
    mentioned
        Parquets to write, schema `MENTIONS`: one row per response.
    repository, revision
        The tokenizer, as `imagenet_think.core.model_sources.resolve` takes them.
    seed
        The run's seed.

    Raises
    ------
    ValueError
        If an image is not in the sample, or a class of the sample is not among the classes.
    """
    class_of, names = class_names(sample, classes, hypernyms)
    tokenizer = load_tokenizer(repository, revision)
    for source, own_lengths, own_mentions in zip(annotations, lengths, mentioned, strict=True):
        frame = pl.read_parquet(source)
        measured = measure(frame, tokenizer)
        tokens = measured.filter(pl.col("part") == "full")["tokens"].sum()
        write_parquet(measured, own_lengths, LENGTHS)
        parsed = pl.when(pl.col("status") == OK).then("answer").alias("answer")
        found = search(frame.select("image_id", "model", parsed), class_of, names, seed)
        write_parquet(found, own_mentions, MENTIONS)
        logger.info(
            "%s: %d responses, %d tokens; %d answers, %d name their image's class",
            *(source, len(frame), tokens, found["synset"].count(), found["synset"].sum()),
        )


if __name__ == "__main__":
    log_to(snakemake.log[0])
    settings = json.loads(snakemake.params.settings)
    measure_texts(
        annotations=snakemake.input.annotations,
        sample=snakemake.input.sample,
        classes=snakemake.input.classes,
        hypernyms=snakemake.input.hypernyms,
        lengths=snakemake.output.lengths,
        mentioned=snakemake.output.mentions,
        **settings["statistics"]["tokenizer"],
        seed=settings["seed"],
    )
