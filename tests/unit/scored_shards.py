"""A shard of annotations on disk, for tests of scoring."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from imagenet_think.core.schemas import ANNOTATIONS, EVALUATED, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.pairs import Shard
from imagenet_think.metrics.scoring import score_shards

TEACHERS = ["glm", "kimi"]

Texts = Mapping[tuple[str, str], tuple[str, str] | None]
"""(image, model) to think and answer; None where parsing failed."""


def write_shard(
    folder: Path,
    texts: Texts,
    classes: Mapping[str, str],
    *,
    models: Sequence[str],
    evaluated: Sequence[str] | None = None,
    metric: str = "rouge",
) -> Shard:
    """Write what a scoring job of `metric` reads: annotations of `texts`, sample, evaluated images.

    A response that could not be parsed still has a full text. `classes` has each image's class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for model in [*TEACHERS, *models]:
        rows = [
            (image, model, "\n".join(parts), *parts, *3 * ["ok"])
            if parts
            else (image, model, f"{model} a bow, a bow, a", None, None, *3 * ["no_answer"])
            for (image, who), parts in texts.items()
            if who == model
        ]
        paths.append(folder / f"{model}.parquet")
        pl.DataFrame(rows, schema=ANNOTATIONS, orient="row").write_parquet(paths[-1])
    sample = [{"image_id": image, "wnid": wnid, "shard": "00"} for image, wnid in classes.items()]
    pl.DataFrame(sample, schema=SAMPLE).write_parquet(folder / "sample.parquet")
    chosen = list(classes) if evaluated is None else evaluated
    rows = [{"image_id": image, "shard": "00"} for image in chosen]
    pl.DataFrame(rows, schema=EVALUATED).write_parquet(folder / "evaluated.parquet")
    return Shard(
        annotations=paths,
        sample=folder / "sample.parquet",
        evaluated=folder / "evaluated.parquet",
        scores=folder / "scores" / metric / "00.parquet",
        agreement=folder / "agreement" / metric / "00.parquet",
        name="00",
        models=models,
        teachers=TEACHERS,
        seed=2510,
    )


def score(metric: str, shard: Shard, statistics: Mapping[str, Path] | None = None, **settings):
    """Score a shard; its cache is in the folder of the annotations."""
    declared = registry.get(metric)
    score_shards(
        declared,
        [shard],
        settings={key: own for key, own in settings.items() if key not in declared.tuning},
        tuning={key: own for key, own in settings.items() if key in declared.tuning},
        statistics=statistics or {},
        cache_folder=Path(shard.annotations[0]).parent / "score_cache" / metric,
        code="0" * 64,
    )
