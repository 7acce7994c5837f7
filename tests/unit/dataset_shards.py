"""Made-up shards of a run, from which the dataset is built."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from build_dataset import PARTS, build_dataset, images_by_shard
from imagenet_think.core.files import parquet_writer, write_parquet
from imagenet_think.core.schemas import ANNOTATIONS, IMAGES, RESPONSES, SAMPLE
from imagenet_think.core.splits import CONFIGURATIONS
from imagenet_think.dataset.hub_files import remove_leftovers
from imagenet_think.parsing import statuses

TEACHERS = ("one", "two")
SETTINGS = {
    "teachers": TEACHERS,
    "test": 2,
    "validation": 1,
    "prompts": {"plain": "What is it?"},
    "decoding": [{"temperature": 0.5}, {"temperature": 0.0}],
}
ENDS = {statuses.CUT_OFF: "length", statuses.LOOP: "loop", statuses.ERROR: "error"}
"""How a generation ended that has such a status."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def picture(image_id: str) -> bytes:
    """Return what stands for the bytes of an image."""
    return f"picture of {image_id}".encode() * 3


def sample(images: Mapping[str, tuple[str, str]]) -> pl.DataFrame:
    """Return a sample; `images` says class and shard of each."""
    rows = [
        {
            "image_id": name,
            "wnid": wnid,
            "class_index": 1,
            "lemma": f"lemma of {wnid}",
            "domain": "food & drink",
            "source": f"{wnid}.tar",
            "member": f"{name}.JPEG",
            "width": 300 + n,
            "height": 400 + n,
            "source_bytes": 1000 + n,
            "source_sha256": digest(f"source of {name}"),
            "sha256": hashlib.sha256(picture(name)).hexdigest(),
            "complexity": float(n),
            "complexity_stratum": 1,
            "shard": shard,
        }
        for n, (name, (wnid, shard)) in enumerate(sorted(images.items()))
    ]
    return pl.DataFrame(rows, schema=SAMPLE)


def said(teacher: str, image_id: str, status: str, text: str) -> tuple[dict, dict]:
    """Return a response and its annotation."""
    failed = status == statuses.ERROR
    response = {
        "image_id": image_id,
        "model": teacher,
        "revision": digest(teacher),
        "prompt_id": "plain",
        "text": None if failed else f"<think>{text} {teacher}</think>{text}",
        "finish_reason": ENDS.get(status, "stop"),
        "rounds": 1,
        "forced": len(image_id) % 2 == 0,
        "prompt_tokens": 30 + len(teacher),
        "image_tokens": 20,
        "completion_tokens": len(text),
        "attempt": 1,
        "seed": 2**62 + len(text),
        "engine": "transformers",
        "attention": "sdpa",
        "fingerprint": digest(teacher + image_id),
        "error": "refused" if failed else None,
    }
    good = status == statuses.OK
    annotation = {
        "image_id": image_id,
        "model": teacher,
        "full": None if failed else text,
        "think": f"{text} {teacher}" if good else None,
        "answer": None if failed else text,
        "status": status,
    }
    return response, annotation


def write_run(
    folder: Path,
    images: Mapping[str, tuple[str, str]],
    status: Mapping[tuple[str, str], str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Write sample, responses, annotations and images of a run, and return its folder.

    Parameters
    ----------
    folder
        Where.
    images
        Class and shard of each image.
    status
        Of (teacher, image), where it is not ok.
    texts
        What is said of an image, where it is to be something special.
    """
    rows = sample(images)
    write_parquet(rows, folder / "sample.parquet", SAMPLE)
    for shard, own in rows.sort("image_id").group_by("shard", maintain_order=True):
        for teacher in TEACHERS:
            ends = [
                said(
                    teacher,
                    name,
                    (status or {}).get((teacher, name), statuses.OK),
                    (texts or {}).get(name, f"text of {name}"),
                )
                for name in own["image_id"]
            ]
            for kind, schema, part in (
                ("responses", RESPONSES, 0),
                ("annotations", ANNOTATIONS, 1),
            ):
                frame = pl.DataFrame([end[part] for end in ends], schema=schema)
                write_parquet(frame, folder / kind / teacher / f"{shard[0]}.parquet", schema)
        pictures = own.with_columns(
            pl.struct(
                pl.col("image_id").map_elements(picture, pl.Binary).alias("bytes"),
                (pl.col("image_id") + ".jpg").alias("path"),
            ).alias("image")
        ).select(list(IMAGES))
        with parquet_writer(folder / "shards" / f"{shard[0]}.parquet", IMAGES) as write:
            write(pictures)
    return folder


def files(folder: Path, number: int, count: int) -> dict[tuple[str, str], Path]:
    """Return the files of the dataset in a folder that a shard is written to."""
    return {
        (configuration, split): folder
        / CONFIGURATIONS[configuration]
        / f"{split}-{number:05d}-of-{count:05d}.parquet"
        for configuration, split in PARTS
    }


def build(run: Path, dataset: Path, shards: list[str], *, full: bool = False, **settings) -> Path:
    """Build the dataset of some shards of a run, and return its folder."""
    settings = SETTINGS | settings
    chosen = {name: settings.pop(name) for name in ("test", "validation")}
    found = images_by_shard(run / "sample.parquet", shards, **chosen)
    every = (files(dataset, number, len(shards)).values() for number in range(len(shards)))
    remove_leftovers(path for paths in every for path in paths)
    for number, (shard, rows) in enumerate(found):
        build_dataset(
            rows,
            [run / "responses" / teacher / f"{shard}.parquet" for teacher in TEACHERS],
            [run / "annotations" / teacher / f"{shard}.parquet" for teacher in TEACHERS],
            run / "shards" / f"{shard}.parquet" if full else None,
            files(dataset, number, len(shards)),
            **{"shard": shard} | settings,
        )
    return dataset
