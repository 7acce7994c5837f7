"""Benchmark of the image stages: counts a second on one core, peak memory, and the full scale.

Run as `python tests/benchmarks/images.py`. Every line is measured by the pipeline's own functions
on generated archives and rows, in a process of its own, in processor time; files are in the page
cache. Each is measured on half the size first: where the cost grows linearly, "growth" is 1. The
full scale is what one core's rate makes of ImageNet-21k's 13,151,276 members, or of the paper's
candidates, on two cores (one where a stage is a single job).
"""

import argparse
import hashlib
import logging
import multiprocessing
import os
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "images"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import numpy as np
import polars as pl
import source_forms
import yaml
from generated_candidates import write_candidates, write_classes
from pictures import encoded, write_tar
from PIL import Image

from collect_candidates import collect_candidates, in_hash_order
from gather_shard import gather_shard
from imagenet_think.core import schemas
from imagenet_think.core.files import parquet_writer
from imagenet_think.core.shards import for_images
from imagenet_think.images import labels, sources
from imagenet_think.images.catalogue import list_places
from sample_images import sample_images

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
IMAGES = CONFIG["images"]
SEED = CONFIG["seed"]
SHARDING = for_images(IMAGES["total"])
SHARDS = SHARDING["blocks"] * SHARDING["shards_per_block"]
PER_CLASS = IMAGES["max_per_class"] + IMAGES["reserve"]

MEMBERS = 13_151_276
CANDIDATES = IMAGES["class_count"] * PER_CLASS
SIDES = (500, 375)
DISTINCT = 40  # images of a class archive; the classes of a group are copies of one


class Measured(NamedTuple):
    """Seconds of processor time, the process's peak memory in bytes, and the file written."""

    seconds: float
    memory: int
    output: Path


def measured(
    work: Callable[..., object], *arguments: object, output: Path = Path(), **options: object
) -> Measured:
    """Measure a call, which writes `output`."""
    start = time.process_time()
    work(*arguments, **options)
    seconds = time.process_time() - start
    return Measured(seconds, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, output)


def class_names(count: int) -> list[str]:
    """Return the names of some classes."""
    return [f"n{number:08d}" for number in range(1, count + 1)]


# What is generated -------------------------------------------------------------------------------


def write_members(path: Path, count: int) -> None:
    """Write an archive of `count` members of one byte: its headers are what a catalogue reads."""
    entry = tarfile.TarInfo()
    entry.size = 1
    content = b"x".ljust(tarfile.BLOCKSIZE, b"\0")
    with open(path, "wb") as file:
        for number in range(count):
            entry.name = f"{path.stem}_{number}.JPEG"
            file.write(entry.tobuf(tarfile.GNU_FORMAT) + content)
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def texture(rng: np.random.Generator) -> Image.Image:
    """Return an image whose spectrum falls with the frequency, as that of photographs does."""
    width, height = SIDES
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf

    def field() -> np.ndarray:
        values = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / frequency)
        return np.pad(values, ((0, 0), (0, width - values.shape[1])), mode="edge") / values.std()

    shared = field()
    levels = np.stack([120 + 45 * shared + 15 * field() for _ in range(3)], axis=-1)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def write_group(folder: Path, wnids: list[str], turned: bool) -> None:
    """Write class archives of textures; turned ones have to be turned and encoded again."""
    rng = np.random.default_rng(2510)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    members = {f"{wnids[0]}_{k}.JPEG": encoded(texture(rng), exif=exif) for k in range(DISTINCT)}
    first = write_tar(folder / f"{wnids[0]}.tar", members)
    for wnid in wnids[1:]:
        os.link(first, folder / f"{wnid}.tar")


def write_pictures(wnids: list[str], path: Path, rng: np.random.Generator) -> None:
    """Write candidates whose images are bytes that do not shrink, a class a row group."""
    write_candidates(dict.fromkeys(wnids, 1_000), DISTINCT, SEED, path)
    rows = pl.read_parquet(path)
    with parquet_writer(path, schemas.CANDIDATES) as write:
        for frame in rows.partition_by("wnid", maintain_order=True):
            images = [rng.bytes(110_000) for _ in range(len(frame))]
            digests = [hashlib.sha256(data).hexdigest() for data in images]
            write(frame.with_columns(image=pl.Series(images), sha256=pl.Series(digests)))


# What is measured --------------------------------------------------------------------------------


def catalogue(folder: Path, count: int) -> Measured:
    """List the members of one archive."""
    (wnid,) = class_names(1)
    write_members(folder / f"{wnid}.tar", count)
    table = source_forms.write_classes(folder / "classes.tsv", [wnid])
    return measured(list_places, "class_tars", folder, [f"{wnid}.tar"], labels.read(table))


def order(folder: Path, count: int) -> Measured:
    """Put the members of classes of 1,000 into hash order."""
    classes = [
        [
            {"wnid": wnid, "source": f"{wnid}.tar", "member": f"{wnid}_{k}.JPEG", "offset": k}
            for k in range(1_000)
        ]
        for wnid in class_names(count // 1_000)
    ]
    layout = sources.get_sampled("class_tars")
    return measured(lambda: [in_hash_order(members, SEED, layout) for members in classes])


def sample(folder: Path, count: int) -> Measured:
    """Sample from the candidates of some classes: near-duplicates, quota, strata."""
    classes = count // PER_CLASS
    sizes = {wnid: 600 + k % 1_500 for k, wnid in enumerate(class_names(classes))}
    return measured(
        sample_images,
        write_classes(sizes, folder / "classes.parquet"),
        [write_candidates(sizes, PER_CLASS, SEED, folder / "candidates.parquet")],
        folder / "sample.parquet",
        folder / "exclusions.parquet",
        seed=SEED,
        total=24 * classes,
        class_count=classes,
        sharding=SHARDING,
        criteria=IMAGES["criteria"],
        **{k: IMAGES[k] for k in ("min_per_class", "max_per_class", "balance", "complexity")},
    )


def check(folder: Path, count: int, turned: bool) -> Measured:
    """Read, hash, decode, check and prepare images, most of which are stored as they are."""
    wnids = class_names(count // DISTINCT)
    write_group(folder, wnids, turned)
    table = source_forms.write_classes(folder / "classes.tsv", wnids)
    rows = list_places("class_tars", folder, [f"{wnid}.tar" for wnid in wnids], labels.read(table))
    rows.write_parquet(folder / "catalogue.parquet")
    inputs = folder / "catalogue.parquet", folder / "candidates.parquet", folder
    settings = SEED, DISTINCT, IMAGES["criteria"], IMAGES["preparation"]
    result = measured(collect_candidates, *inputs, *settings, output=inputs[1])
    reasons = pl.read_parquet(inputs[1], columns=["reason"])["reason"]
    assert reasons.null_count() == count, "textures were rejected"
    return result


def gather(folder: Path, count: int, every: int) -> Measured:
    """Gather a shard out of the candidates of two groups; one of `every` belongs to it."""
    rng = np.random.default_rng(2510)
    files = [folder / "0.parquet", folder / "1.parquet"]
    wnids = class_names(count // DISTINCT)
    sampled = []
    for part, path in enumerate(files):
        write_pictures(wnids[part::2], path, rng)
        columns = pl.scan_parquet(path).drop("image").collect()
        sampled.append(columns.with_columns(pl.lit("00").alias("shard"))[::every])
    pl.concat(sampled).write_parquet(folder / "sample.parquet")
    output = folder / "shard.parquet"
    return measured(gather_shard, folder / "sample.parquet", files, "00", output, output=output)


# The table ---------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """What is measured: on how many, in which steps, for which full scale, on how many cores."""

    name: str
    work: Callable[[Path, int], Measured]
    count: int
    step: int
    full: int
    cores: int
    goal: str


STAGES = [
    Stage("catalogue, members", catalogue, 1_000_000, 1, MEMBERS, 2, "600 s, 1 GiB"),
    Stage("candidate order, members", order, 1_000_000, 1_000, MEMBERS, 2, "60 s, 4 GiB"),
    Stage("sample, candidates", sample, 100_000, PER_CLASS, CANDIDATES, 1, "60 s, 4 GiB"),
    *(
        Stage(name, partial(check, turned=turned), 960, DISTINCT, CANDIDATES, 2, goal)
        for name, turned, goal in (
            ("check, images", False, "120 a second"),
            ("check and prepare, images", True, "80"),
        )
    ),
    *(
        Stage(name, partial(gather, every=every), 1_920, 2 * DISTINCT, full, cores, goal)
        for name, every, full, cores, goal in (
            ("gather 64 shards, candidates", SHARDS, CANDIDATES * SHARDS, 2, ""),
            ("gather a large shard, candidates", 2, CANDIDATES, 1, "1 group"),
        )
    ),
]


def run(stage: Stage, count: int) -> tuple[Measured, int]:
    """Measure a stage in a process of its own; return also the size in bytes of its output."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        result = pool.submit(stage.work, Path(folder), count).result()
        return result, result.output.stat().st_size if result.output.is_file() else 0


def main() -> None:
    """Measure every stage and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes that are measured")
    parser.add_argument("--only", default="", help="stages whose name holds this text")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| stage | measured | a second and core | growth | peak | full scale | goal | output |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    for stage in STAGES:
        if arguments.only not in stage.name:
            continue
        half = max(1, round(stage.count * arguments.share / stage.step / 2)) * stage.step
        (first, _), (whole, size) = run(stage, half), run(stage, 2 * half)
        rate = 2 * half / whole.seconds
        growth = whole.seconds / first.seconds / 2
        peaks = "/".join(f"{each.memory / 2**20:,.0f}" for each in (first, whole))
        print(
            f"| {stage.name} | {2 * half:,} | {rate:,.0f} | {growth:.2f} | {peaks} MiB "
            f"| {stage.full / rate / stage.cores:,.0f} s on {stage.cores} | {stage.goal} "
            f"| {size / 1e6:,.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
