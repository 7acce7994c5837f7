"""Texts outside a metric's domain, from annotations to means."""

import numpy as np
import polars as pl
import pytest
from score_files import frames, full, one, write
from scored_shards import write_shard

from aggregate_scores import aggregate_scores
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.domain import outside_share, read_outside
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.populations import FIXED
from imagenet_think.core.schemas import DOMAIN
from imagenet_think.metrics import registry
from imagenet_think.metrics.domain import words_counter
from measure_domain import measure_domain

COUNT = words_counter("[a-z0-9]+", None)
IMAGES = pl.Series(["i000", "i001", "i002", "i003"])


def test_texts_that_can_be_scored_are_measured(tmp_path):
    texts = {
        ("i000", "glm"): ("a dog", "图中"),
        ("i001", "glm"): None,  # not parsed
        ("i000", "kimi"): ("图中", "a dog"),
        ("i000", "m"): ("图中", "5 图中是"),
    }
    shard = write_shard(tmp_path, texts, {"i000": "a", "i001": "a"}, models=["m"])
    frame = measure_domain(shard.annotations, "rouge", COUNT)
    assert frame.schema == DOMAIN
    assert set(frame["metric"]) == {"rouge"}
    assert frame.filter(model="glm").select("image_id", "part", "outside").rows() == [
        ("i000", "full", None),
        ("i001", "full", None),
        ("i000", "think", None),
        ("i000", "answer", "no_token"),
    ]
    assert set(frame.filter(model="m")["outside"]) == {"no_token", "no_word"}
    assert measure_domain(shard.annotations, "own", None).equals(DOMAIN.to_frame())


def write_domain(folder, **reasons):
    """Write reasons of models' full texts by image, as in `IMAGES`; return the paths."""
    rows = [
        {"image_id": image, "model": model, "part": "full", "outside": why}
        for model, own in reasons.items()
        for image, why in zip(IMAGES, own, strict=False)
    ]
    paths = [folder / "0.parquet", folder / "1.parquet"]
    for place, path in enumerate(paths):
        pl.DataFrame(rows[place::2], schema=DOMAIN).write_parquet(path)
    return paths


def test_shares_of_a_mean(tmp_path):
    paths = write_domain(
        tmp_path,
        m=["no_token", None, None, "unknown"],
        glm=[None, "no_word", None, None],
        kimi=[None] * 4,
    )
    outside = read_outside(paths, IMAGES)
    assert set(outside) == {("m", "full"), ("glm", "full")}
    texts = [(model, "full") for model in ("m", "glm", "kimi")]

    def share(*counted):
        return tuple(outside_share(outside, texts, np.array(counted, dtype=int)).values())

    assert share(0, 1, 2, 3) == (0.75, "no_token,unknown,no_word")
    assert share(1, 2) == (0.5, "no_word")
    assert share(2) == (0.0, None)
    assert share() == (None, None)
    assert tuple(outside_share({}, texts, np.arange(4)).values()) == (0.0, None)


@pytest.mark.parametrize("teachers", [("glm", "kimi"), ("kimi",)])
def test_only_images_of_the_mean_count(tmp_path, teachers):
    domain = write_domain(tmp_path, m=["no_token", "no_token"], glm=[None, None, "unknown"])
    pairs = full("reference", (0.2, 0.6), (0.5, 0.1), (0.3, 0.3))
    paths = write(frames(pairs), tmp_path)
    scored = read_scores(registry.get("rouge"), [paths["rouge"]], ["m"])
    outside = read_outside(domain, scored.images)
    frame = aggregate_scores(scored, Intervals(0.9, FIXED), outside=outside, teachers=teachers)
    row = one(frame, metric="rouge1", part="full", aggregate="avg")
    share, reasons = (2 / 3, "no_token,unknown") if "glm" in teachers else (1 / 3, "no_token")
    assert (row["outside"], row["outside_reasons"]) == (pytest.approx(share), reasons)
    row = one(frame, metric="rouge1", part="think", aggregate="avg")
    assert (row["outside"], row["outside_reasons"]) == (None, None)
