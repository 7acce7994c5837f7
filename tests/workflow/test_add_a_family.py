"""A new family is one module; all other places derive from it."""

import json

import polars as pl
import pytest

from .additions import CONFIG, RESULTS, documented
from .conftest import listed

pytestmark = pytest.mark.slow

MODULE = "scripts/imagenet_think/inference/families/brief_qwen.py"
FAMILY = '''"""Checkpoints of Qwen2.5-VL whose responses end early."""

from imagenet_think.inference.families.qwen2_5_vl import (
    CHAT_TEMPLATE,
    IMAGE,
    PLAIN_TOKENS,
    SPECIAL_TOKENS,
    TOKENIZER,
    load_model,
    load_processor,
    small_files,
)

END_TOKENS = ({token!r},)
'''


def test_a_family_is_one_module(finished):
    results = finished.root / RESULTS
    config = finished.config()
    known = config["benchmarked"][-1]
    assert config["models"][known]["family"] == "qwen2_5_vl"
    tokenizer = finished.root / config["models"][known]["repository"] / "tokenizer.json"
    vocabulary = json.loads(tokenizer.read_text())["model"]["vocab"]
    (whole,) = (
        pl.read_parquet(path).sort("image_id") for path in results.glob(f"responses/{known}/*")
    )
    # A token that all responses have: a phrase in ASCII, where a space is written as "Ġ".
    texts = whole["text"].to_list()
    token = max(
        (token for token in vocabulary if all(token.replace("Ġ", " ") in text for text in texts)),
        key=len,
    )
    end = token.replace("Ġ", " ")

    (finished.root / MODULE).write_text(FAMILY.format(token=token))
    with finished.editing() as config:
        config["models"]["brief"] = config["models"][known] | {"family": "brief_qwen"}
        config["benchmarked"].append("brief")

    files = [
        str(path.relative_to(finished.root)).replace(known, "brief")
        for path in results.glob(f"responses/{known}/*")
    ]
    said = finished.snakemake(*CONFIG, *files, "checkpoints")
    assert listed(said)["generate_responses"] == 1
    brief = pl.read_parquet([finished.root / file for file in files]).sort("image_id")
    assert brief["image_id"].equals(whole["image_id"])
    assert brief["text"].to_list() == [text[: text.index(end) + len(end)] for text in texts]
    assert set(brief["finish_reason"]) == {"stop"}

    described = pl.read_csv(results / "checkpoints.csv")
    rows = described.filter(pl.col("model").is_in(["brief", known])).drop(
        "model", "name", strict=False
    )
    assert set(rows["family"]) == {"qwen2_5_vl", "brief_qwen"}
    assert rows.drop("family", "unchecked").unique().height == 1
    assert "| brief |" in (results / "checkpoints.md").read_text()
    assert "brief_qwen" in documented(finished)
