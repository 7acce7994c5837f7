"""What the dataset card says about each teacher: its checkpoint, engine and decoding."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think import parsing
from imagenet_think.core import model_sources
from imagenet_think.core.settings import Values


def facts(rows: pl.DataFrame, k: int, model: Values) -> dict[str, Any]:
    """Return what the config and the rows record about a teacher.

    Parameters
    ----------
    rows
        Rows of all files, with columns revision_k, decoding_k and engine_k.
    k
        1 or 2.
    model
        The model's section of the config.
    """
    revisions, decodings, engines = (
        rows[f"{name}_{k}"].drop_nulls().unique().sort().to_list()
        for name in ("revision", "decoding", "engine")
    )
    return {
        "k": str(k),
        "name": model["name"],
        "imported": "repository" not in model,
        **location(model),
        "revisions": ", ".join(revisions),
        "engines": ", ".join(engines),
        "served": "server" in engines,
        "decodings": [
            "; ".join(f"{key} {value}" for key, value in json.loads(text).items())
            for text in decodings
        ],
        **{key: model.get(key) for key in ("system", "template", "prefix")},
        "rule": parsing.rule(model["output"]) if model.get("output") else None,
    }


def location(model: Values) -> dict[str, str]:
    """Return a teacher's repository without local folders, and a link if it is on the hub.

    An absolute path is reduced to the folder's name.
    """
    if "repository" not in model:
        return {"repository": "", "link": ""}
    repository = model["repository"]
    if model_sources.is_hub(repository):
        return {"repository": repository, "link": f"https://huggingface.co/{repository}"}
    path = Path(repository)
    return {"repository": path.name if path.is_absolute() else repository, "link": ""}
