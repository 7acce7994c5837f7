"""Made-up shards of a run, the dataset built from them, and the tables that describe it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from pictures import encoded
from PIL import Image

from build_dataset import PARTS, build_dataset, images_by_shard
from imagenet_think.core.files import parquet_writer, write_parquet
from imagenet_think.core.schemas import ANNOTATIONS, IMAGES, RESPONSES, SAMPLE
from imagenet_think.core.splits import CONFIGURATIONS
from imagenet_think.dataset.hub_files import schemas, writer
from imagenet_think.parsing import statuses

REPORTED = Path(__file__).parents[2] / "resources" / "reported.yaml"

TEACHERS = ("one", "two")
SETTINGS = {
    "teachers": TEACHERS,
    "test": 2,
    "validation": 1,
    "prompts": {"plain": "What is it?"},
    "decoding": [{"temperature": 0.5}, {"temperature": 0.0}],
}
FINISH = {statuses.CUT_OFF: "length", statuses.LOOP: "loop", statuses.ERROR: "error"}
"""Finish reasons of responses with these statuses; "stop" for others."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def picture(image_id: str) -> bytes:
    """Return a small PNG of one colour, which depends on the image_id."""
    return encoded(Image.new("RGB", (8, 6), f"#{digest(image_id)[:6]}"), "PNG")


def sample(images: Mapping[str, tuple[str, str]]) -> pl.DataFrame:
    """Return a sample, given the class and shard of each image."""
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


def respond(teacher: str, image_id: str, status: str, text: str) -> tuple[dict, dict]:
    """Return a response and its annotation."""
    failed = status == statuses.ERROR
    response = {
        "image_id": image_id,
        "model": teacher,
        "revision": digest(teacher),
        "prompt_id": "plain",
        "text": None if failed else f"<think>{text} {teacher}</think>{text}",
        "finish_reason": FINISH.get(status, "stop"),
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
    think = f"{text} {teacher}" if status == statuses.OK else None
    said = None if failed else text
    known = dict.fromkeys(("status", "think_status", "answer_status"), status)
    annotation = {"image_id": image_id, "model": teacher} | known
    return response, annotation | {"full": said, "think": think, "answer": said}


def write_run(
    folder: Path,
    images: Mapping[str, tuple[str, str]],
    status: Mapping[tuple[str, str], str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Write sample, responses, annotations and images of a run, and return its folder.

    `images` has the class and shard of each image, `status` those by teacher and image that are not
    ok, and `texts` texts about images where they matter.
    """
    chosen = sample(images)
    write_parquet(chosen, folder / "sample.parquet", SAMPLE)
    for shard, own in chosen.group_by("shard", maintain_order=True):
        for teacher in TEACHERS:
            pairs = []
            for name in own["image_id"]:
                ended = (status or {}).get((teacher, name), statuses.OK)
                text = (texts or {}).get(name, f"text of {name}")
                pairs.append(respond(teacher, name, ended, text))
            kinds = {"responses": RESPONSES, "annotations": ANNOTATIONS}
            for (kind, schema), rows in zip(kinds.items(), zip(*pairs, strict=True), strict=True):
                path = folder / kind / teacher / f"{shard[0]}.parquet"
                write_parquet(pl.DataFrame(rows, schema=schema), path, schema)
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
    """Return the files of a dataset folder that a shard is written to."""
    name = f"{number:05d}-of-{count:05d}.parquet"
    return {
        (configuration, split): folder / CONFIGURATIONS[configuration] / f"{split}-{name}"
        for configuration, split in PARTS
    }


def build(run: Path, dataset: Path, shards: list[str], *, full: bool = False, **settings) -> Path:
    """Build the dataset of some shards of a run, and return its folder."""
    settings = SETTINGS | settings
    chosen = {name: settings.pop(name) for name in ("test", "validation")}
    found = images_by_shard(run / "sample.parquet", shards, **chosen)
    for number, (shard, rows) in enumerate(found):
        build_dataset(
            rows,
            *(
                [run / kind / teacher / f"{shard}.parquet" for teacher in TEACHERS]
                for kind in ("responses", "annotations")
            ),
            run / "shards" / f"{shard}.parquet" if full else None,
            files(dataset, number, len(shards)),
            **{"shard": shard} | settings,
        )
    return dataset


PUBLISHED = {f"n1_{n}": ("n1", f"0{n % 2}") for n in range(11)}
"""Images of `publish`: class and shard of each."""
FAILURES = {
    ("one", "n1_0"): statuses.CUT_OFF,
    ("two", "n1_3"): statuses.LOOP,
    ("one", "n1_2"): statuses.LOOP,
    ("two", "n1_2"): statuses.ERROR,
}
ROWS = dict(zip(PARTS, (6, 1, 1, 2, 0, 1), strict=True))
"""Rows of `publish` by configuration and split."""


def publish(
    folder: Path,
    *,
    full: bool = False,
    failures: Mapping[tuple[str, str], str] = FAILURES,
    columns: Mapping[str, object] = {},
) -> list[Path]:
    """Build a dataset of 11 images in two shards; return its files in the order of a rule's inputs.

    `columns` are values to fill whole columns with.
    """
    shards = ["00", "01"]
    run = write_run(folder.parent / "run", PUBLISHED, failures)
    build(run, folder, shards, full=full)
    paths = [files(folder, number, 2) for number in (0, 1)]
    for configuration, split in PARTS if columns else []:
        schema = schemas(full)[configuration]
        for path in (every[configuration, split] for every in paths):
            rows = pl.read_parquet(path)
            new = {k: pl.lit(v, schema[k]) for k, v in columns.items() if k in schema}
            with writer(path, schema) as append:
                append(rows.with_columns(**new))
    return [every[part] for part in PARTS for every in paths]


def write_tables(
    folder: Path,
    english: tuple[float | None, float | None] = (100.0, 99.5),
    thinking: tuple[int, int] = (11, 10),
    tokens: str = "8,1101,2203,1652.4,13219",
    **images: object,
) -> list[Path]:
    """Write csv files of Tables 1 and 2 and of language as in the paper's run; return their paths.

    `english` and `thinking` are of both teachers; `images` are other values of Table 2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.csv" for name in ("table1", "table2", "language")]
    paths[0].write_text(
        f"dataset,images,min,max,mean,total\nMAC,9000,1,2,1.5,3\nImageNet-Think,{tokens}\n"
    )
    summary = {"images": 250_000, "classes": 10_450, "min_per_class": 2, "max_per_class": 5}
    summary |= {"mean_per_class": 23.92, "imagenet_names": 250_000} | images
    pl.DataFrame([summary]).write_csv(paths[1])
    rows = [("tokens", "full", 11, 100.0)]
    rows += [("tokens", "think", count, 50.0) for count in thinking]
    rows += [("english_percent", "full", 11, share) for share in english]
    pl.DataFrame(rows, ["measure", "part", "n", "mean"], orient="row").write_csv(paths[2])
    return paths
