"""Small agreement files of every metric, filled with random numbers."""

from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from imagenet_think.metrics import registry, score_schemas
from imagenet_think.parsing import PARTS

TEACHERS = ["glm", "kimi"]
COMPARISONS = [
    ("glm", "teacher_2"),
    ("glm", "same_class"),
    ("glm", "other_class"),
    ("kimi", "same_class"),
    ("kimi", "other_class"),
]
DOMAINS = ("plant", "animal", "animal", None)


def sample(images: int) -> pl.DataFrame:
    """Return a sample of images of two domains, and images without one."""
    rows = [
        {"image_id": f"i{place:02d}", "wnid": "n1", "domain": DOMAINS[place % len(DOMAINS)]}
        for place in range(images)
    ]
    return pl.DataFrame(rows, schema=schemas.SAMPLE)


def agreement(metric: str, images: int, seed: int = 0) -> pl.DataFrame:
    """Rows of one metric: every third image has no partner, some have no text."""
    schema = score_schemas.agreement(registry.get(metric))
    draw = np.random.default_rng([seed, *metric.encode()])
    rows = []
    for place in range(images):
        for part in PARTS:
            for model, against in COMPARISONS:
                if against != "teacher_2" and place % 3 == 0:
                    continue
                lost = part != "full" and place % 5 == 1
                numbers = {
                    name: None if lost else draw.uniform(0, 1)
                    for name in schema
                    if name not in ("image_id", "model", "part", "against")
                }
                row = {"image_id": f"i{place:02d}", "model": model, "part": part}
                rows.append(row | {"against": against} | numbers)
    return pl.DataFrame(rows, schema=schema)


def write_files(folder: Path, images: int = 12) -> dict[str, object]:
    """Write sample and agreement, in two shards; return the paths."""
    write_parquet(sample(images), folder / "sample.parquet", schemas.SAMPLE)
    files: dict[str, list[Path]] = {}
    for metric in registry.metrics():
        rows = agreement(metric.name, images)
        first = pl.col("image_id") < f"i{images // 2:02d}"
        for shard, part in (("00", rows.filter(first)), ("01", rows.filter(~first))):
            path = folder / metric.name / f"{shard}.parquet"
            write_parquet(part, path, score_schemas.agreement(metric))
            files.setdefault(metric.name, []).append(path)
    return {"files": files, "sample": folder / "sample.parquet"}
