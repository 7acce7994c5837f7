"""Benchmark of the image stages: counts a second on one core, peak memory, and the full scale.

Run as `python tests/benchmarks/images.py`. Every line is measured by the pipeline's own functions
on generated archives and rows, in a process of its own, in processor time; files are in the page
cache. Each is measured on a part of the size first: where the cost grows linearly, "growth" is 1.
The full scale is what one core's rate makes of ImageNet-21k's 13,151,276 members, or of the paper's
candidates, on two cores (one where a stage is a single job).
"""

import argparse
import hashlib
import io
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
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import numpy as np
import polars as pl
import yaml
from generated_candidates import class_sizes, write_candidates, write_classes
from PIL import Image

from collect_candidates import collect_candidates, in_hash_order
from gather_shard import gather_shard
from imagenet_think.core import schemas
from imagenet_think.core.files import parquet_writer
from imagenet_think.images import sources
from imagenet_think.images.apportionment import allocate
from imagenet_think.images.catalogue import list_places
from sample_images import sample_images

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
IMAGES = CONFIG["images"]
CRITERIA = IMAGES["criteria"]
SHARDS = CONFIG["sharding"]["blocks"] * CONFIG["sharding"]["shards_per_block"]
PER_CLASS = IMAGES["max_per_class"] + IMAGES["reserve"]

MEMBERS = 13_151_276
CANDIDATES = IMAGES["class_count"] * PER_CLASS
TRAINING_IMAGES = 11_060_223
SIDES = (500, 375)
DISTINCT = 40  # images of a class archive; the classes of a group are copies of one


class Measured(NamedTuple):
    """Seconds of processor time for a count of things, and the process's peak memory in bytes."""

    seconds: float
    count: int
    memory: int
    note: str = ""


def measured(work: Callable[[], tuple[int, str]]) -> Measured:
    """Measure `work`, which returns how many things it worked through, and a note."""
    start = time.process_time()
    count, note = work()
    seconds = time.process_time() - start
    return Measured(seconds, count, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, note)


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


def write_group(folder: Path, classes: int, turned: bool) -> int:
    """Write class archives of textures and return the mean size of an image in bytes.

    Turned ones carry an EXIF orientation, so that each is turned and encoded anew.
    """
    rng = np.random.default_rng(2510)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    files = []
    for _ in range(DISTINCT):
        file = io.BytesIO()
        texture(rng).save(file, format="JPEG", quality=92, exif=exif)
        files.append(file.getvalue())
    first = folder / "n00000001.tar"
    with tarfile.open(first, "w:") as archive:
        for number, data in enumerate(files):
            entry = tarfile.TarInfo(f"n00000001_{number}.JPEG")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    for number in range(2, classes + 1):
        os.link(first, folder / f"n{number:08d}.tar")
    return sum(map(len, files)) // len(files)


def write_table(folder: Path, classes: int) -> Path:
    """Write the table of the classes."""
    path = folder / "classes.tsv"
    rows = [f"n{number:08d}\ta, b\tfood\tn1" for number in range(1, classes + 1)]
    path.write_text("\n".join(["wnid\tlemmas\tdomain\thypernym", *rows]) + "\n")
    return path


# What is measured --------------------------------------------------------------------------------


def catalogue(folder: Path, count: int) -> Measured:
    """List the members of one archive, and write the catalogue."""
    tar = folder / "n00000001.tar"
    write_members(tar, count)
    table = write_table(folder, 1)

    def work() -> tuple[int, str]:
        list_places("class_tars", folder, [tar.name], table)
        return count, ""

    return measured(work)


def order(folder: Path, count: int) -> Measured:
    """Put the members of classes of 1,000 into hash order."""
    names = [f"n{number // 1000:08d}" for number in range(count)]
    members = pl.DataFrame(
        {
            "wnid": names,
            "source": [f"{name}.tar" for name in names],
            "member": [f"{name}_{number}.JPEG" for number, name in enumerate(names)],
            "offset": np.arange(count),
            "bytes": np.full(count, 110_000),
            "reason": None,
            "detail": None,
        },
        schema=schemas.CATALOGUE,
    )
    layout = sources.get_sampled("class_tars")

    def work() -> tuple[int, str]:
        for rows in members.partition_by("wnid", maintain_order=True):
            in_hash_order(rows.to_dicts(), CONFIG["seed"], layout)
        return count, ""

    return measured(work)


def quota(folder: Path, count: int) -> Measured:
    """Spread images over classes, as many a class as the paper's, of which there are as many."""
    share = count / IMAGES["total"]
    classes = round(IMAGES["class_count"] * share)
    sizes = class_sizes(classes, int(TRAINING_IMAGES * share), 501, CONFIG["seed"])

    def work() -> tuple[int, str]:
        images = allocate(
            count,
            [size ** IMAGES["balance"] for size in sizes],
            IMAGES["min_per_class"],
            [IMAGES["max_per_class"]] * len(sizes),
        )
        return count, f"{min(images)} to {max(images)} a class"

    return measured(work)


def sample(folder: Path, count: int) -> Measured:
    """Sample from the candidates of some classes: near-duplicates, quota, strata."""
    classes = count // PER_CLASS
    sizes = {f"n{number:08d}": 600 + number % 1_500 for number in range(1, classes + 1)}
    index = write_classes(sizes, folder / "classes.parquet")
    candidates = write_candidates(sizes, PER_CLASS, CONFIG["seed"], folder / "candidates.parquet")

    def work() -> tuple[int, str]:
        sample_images(
            index,
            [candidates],
            folder / "sample.parquet",
            folder / "exclusions.parquet",
            seed=CONFIG["seed"],
            total=24 * classes,
            class_count=classes,
            sharding=CONFIG["sharding"],
            criteria=CRITERIA,
            **{k: IMAGES[k] for k in ("min_per_class", "max_per_class", "balance", "complexity")},
        )
        return count, ""

    return measured(work)


def _collect(folder: Path, count: int, turned: bool) -> Measured:
    classes = count // DISTINCT
    mean = write_group(folder, classes, turned)
    places = [tar.name for tar in sorted(folder.glob("*.tar"))]
    rows = list_places("class_tars", folder, places, write_table(folder, classes))
    rows.write_parquet(folder / "catalogue.parquet")
    output = folder / "candidates.parquet"

    def work() -> tuple[int, str]:
        collect_candidates(
            folder / "catalogue.parquet",
            output,
            folder,
            CONFIG["seed"],
            DISTINCT,
            CRITERIA,
            IMAGES["preparation"],
        )
        return count, ""

    result = measured(work)
    accepted = pl.scan_parquet(output).select(pl.col("reason").is_null().sum()).collect().item()
    assert accepted == count, f"{count - accepted} textures were turned away"
    return result._replace(
        note=f"{mean / 1000:.0f} kB an image; a group of {mean * count / 1e6:.0f} MB"
    )


def check(folder: Path, count: int) -> Measured:
    """Read, hash, decode and judge images that are stored as they are."""
    return _collect(folder, count, turned=False)


def prepare(folder: Path, count: int) -> Measured:
    """The same with images that are turned upright and encoded anew."""
    return _collect(folder, count, turned=True)


def gather(folder: Path, count: int, every: int) -> Measured:
    """Gather a shard out of the candidates of two groups; one of `every` belongs to it."""
    rng = np.random.default_rng(2510)
    files = [folder / "0.parquet", folder / "1.parquet"]
    classes = {f"n{number:08d}": 1_000 for number in range(1, count // DISTINCT + 1)}
    sampled = []
    for part, path in enumerate(files):
        wnids = list(classes)[part::2]
        _write_candidates_with_images({wnid: classes[wnid] for wnid in wnids}, path, rng)
        columns = pl.scan_parquet(path).drop("image").collect()
        sampled.append(columns.with_columns(pl.lit("00").alias("shard"))[::every])
    pl.concat(sampled).write_parquet(folder / "sample.parquet")

    def work() -> tuple[int, str]:
        gather_shard(folder / "sample.parquet", files, "00", folder / "shard.parquet")
        return count, ""

    result = measured(work)
    size = (folder / "shard.parquet").stat().st_size
    return result._replace(note=f"a shard of {size / 1e6:.0f} MB")


def _write_candidates_with_images(sizes: dict, path: Path, rng: np.random.Generator) -> None:
    """Write candidates whose images are bytes that do not shrink, a class a row group."""
    write_candidates(sizes, DISTINCT, CONFIG["seed"], path)
    rows = pl.read_parquet(path)
    with parquet_writer(path, schemas.CANDIDATES) as write:
        for frame in rows.partition_by("wnid", maintain_order=True):
            images = [rng.bytes(110_000) for _ in range(len(frame))]
            digests = [hashlib.sha256(data).hexdigest() for data in images]
            write(frame.with_columns(image=pl.Series(images), sha256=pl.Series(digests)))


# The table ---------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """What is measured: on how many, for which full scale, on how many cores, with which goal."""

    name: str
    work: Callable[[Path, int], Measured]
    count: int
    full: int
    cores: int
    goal: str


def stages(share: float) -> list[Stage]:
    """Return the stages; `share` scales what is measured."""

    def some(count: int, step: int = 1) -> int:
        return max(2 * step, int(count * share) // (2 * step) * 2 * step)

    return [
        Stage("catalogue, members", catalogue, some(1_000_000), MEMBERS, 2, "600 s, 1 GiB"),
        Stage("candidate order, members", order, some(1_000_000), MEMBERS, 2, "60 s, 4 GiB"),
        Stage("quota, images", quota, IMAGES["total"], IMAGES["total"], 1, "60 s, 4 GiB"),
        Stage("sample, candidates", sample, some(100_000, PER_CLASS), CANDIDATES, 1, "60 s, 4 GiB"),
        Stage("check, images", check, some(960, DISTINCT), CANDIDATES, 2, "120 a second"),
        Stage("check and prepare, images", prepare, some(960, DISTINCT), CANDIDATES, 2, "80"),
        Stage(
            "gather 64 shards, candidates",
            partial(gather, every=SHARDS),
            some(1_920, 2 * DISTINCT),
            CANDIDATES * SHARDS,
            2,
            "",
        ),
        Stage(
            "gather a large shard, candidates",
            partial(gather, every=2),
            some(1_920, 2 * DISTINCT),
            CANDIDATES,
            1,
            "1 group",
        ),
    ]


def run(stage: Stage, count: int) -> Measured:
    """Measure a stage in a process of its own, with a folder that is removed afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(stage.work, Path(folder), count).result()


def main() -> None:
    """Measure every stage and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes that are measured")
    parser.add_argument("--only", default="", help="stages whose name holds this text")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| stage | measured | a second and core | growth | peak | full scale | goal | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |")
    for stage in stages(arguments.share):
        if arguments.only not in stage.name:
            continue
        half = run(stage, stage.count // 2)
        whole = run(stage, stage.count)
        rate = whole.count / whole.seconds
        growth = (whole.seconds / whole.count) / (half.seconds / half.count)
        scale = stage.full / rate / stage.cores
        peaks = "/".join(f"{m.memory / 2**20:,.0f}" for m in (half, whole))
        print(
            f"| {stage.name} | {stage.count:,} | {rate:,.0f} | {growth:.2f} | {peaks} MiB "
            f"| {scale:,.0f} s on {stage.cores} | {stage.goal} | {whole.note} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
