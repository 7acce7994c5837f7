"""A small dataset folder and the tables beside it, as the rules before the card leave them."""

import io
from pathlib import Path

import polars as pl
from PIL import Image

from imagenet_think.core.schemas import DATASET, DATASET_FULL, FAILED, FAILED_FULL
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from imagenet_think.dataset.hub_files import writer
from imagenet_think.report import comparability

SHARDS = 2
SCHEMAS = {
    False: {"default": DATASET, "failed": FAILED},
    True: {"default": DATASET_FULL, "failed": FAILED_FULL},
}
STATUSES = {
    "default": [("ok", "ok")],
    "failed": [("cut_off", "ok"), ("ok", "loop"), ("loop", "error")],
}
ROWS = {
    ("default", "train"): 5,
    ("default", "validation"): 1,
    ("default", "test"): 2,
    ("failed", "train"): 2,
    ("failed", "validation"): 0,
    ("failed", "test"): 1,
}
"""Rows by configuration and split, spread over the shards."""


def picture(number):
    """Return the bytes of a small PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (number, 2 * number, 3 * number)).save(stream, "PNG")
    return stream.getvalue()


def value(name, dtype, number, hard):
    """Return what a column holds in a row, where nothing is said of it."""
    if dtype == pl.String:
        return f"{name} {number} {hard}"
    return number % 2 == 0 if dtype == pl.Boolean else 100 + number


def row(schema, number, configuration, changes, hard=""):
    """Return a row of the schema."""
    found = {name: value(name, dtype, number, hard) for name, dtype in schema.items()}
    statuses = STATUSES[configuration][number % len(STATUSES[configuration])]
    found |= {"image_id": f"n{number:08d}_{number}", "question": f"Look closely. {hard}".strip()}
    for k, status in enumerate(statuses, start=1):
        found |= {
            f"status_{k}": status,
            f"model_{k}": ["glm", "kimi"][k - 1],
            f"revision_{k}": f"{k}" * 40,
            f"prompt_id_{k}": "section_3_2",
            f"decoding_{k}": '{"max_new_tokens": 8192, "temperature": 0.6}',
            f"engine_{k}": ["transformers", "vllm"][k - 1],
            f"forced_{k}": False,
        }
        if status == "error" and f"text_{k}" in found:
            found[f"text_{k}"] = None
    if "image" in schema:
        found["image"] = {"bytes": picture(number), "path": f"{found['image_id']}.png"}
    return found | changes


def write_dataset(folder, *, full=False, hard="", rows=ROWS, **changes):
    """Write the parquet files of a dataset; return their paths in the order of a rule's inputs."""
    files, number = [], 0
    for configuration, place in CONFIGURATIONS.items():
        schema = SCHEMAS[full][configuration]
        for split in SPLITS:
            own = []
            for _ in range(rows[configuration, split]):
                own.append(row(schema, number, configuration, changes, hard))
                number += 1
            for shard in range(SHARDS):
                path = folder / place / f"{split}-{shard:05d}-of-{SHARDS:05d}.parquet"
                with writer(path, schema) as append:
                    append(pl.DataFrame(own[shard::SHARDS], schema=schema))
                files.append(path)
    return files


def write_tables(folder, images=250_000, kept=8):
    """Write the csv of Tables 1 and 2; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "table1": pl.DataFrame(
            {
                "dataset": ["Visual CoT", "ImageNet-Think"],
                "images": [438_000, kept],
                "min": [218, 1_101],
                "max": [4_871, 2_203],
                "mean": [1_373.0, 1_652.4],
                "total": [733_000, 13_219],
            }
        ),
        "table2": pl.DataFrame(
            {
                "images": [images],
                "classes": [10_450],
                "min_per_class": [2],
                "max_per_class": [5],
                "mean_per_class": [images / 10_450],
            }
        ),
    }
    paths = []
    for name, frame in tables.items():
        paths.append(folder / f"{name}.csv")
        frame.write_csv(paths[-1])
    return paths


REPORTED = Path(__file__).parents[2] / "resources" / "reported.yaml"


def settings(**changes):
    """Return what the rules take of the config, here of the paper's run."""
    return {
        "run": "paper",
        "full": False,
        "source": "class_tars",
        "criteria": {"min_side": 224, "near_duplicate_bits": 4},
        "preparation": {"longest_side": 1024, "jpeg_quality": 95},
        "teachers": [
            {
                "name": "GLM",
                "repository": "zai-org/GLM",
                "system": None,
                "template": "{image}{prompt}",
                "prefix": None,
            },
            {
                "name": "Kimi",
                "repository": "moonshotai/Kimi",
                "system": "You are a helpful assistant",
                "template": "{image}{prompt}",
                "prefix": None,
            },
        ],
        "dataset": {
            "test": 2,
            "validation": 1,
            "repository": None,
            "license": "cc-by-nc-4.0",
            "version": "1.0.0",
            "published": None,
            "private": True,
        },
        "compared": compared(),
    } | changes


def compared(**changes):
    """Return what tells whether a dataset is the paper's, here of one that is."""
    return {
        "source": "class_tars",
        "prompt": comparability.PROMPTS[0],
        "teachers": list(comparability.TEACHERS),
        "names": dict.fromkeys(comparability.TEACHERS, "A teacher"),
        "repositories": dict(comparability.REPOSITORIES),
    } | changes
