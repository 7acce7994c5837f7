"""Configs of runs that are pretended to be finished.

For what a test can't run: texts made elsewhere, every layout of the source, decisions of people,
the dataset with images, the paper.
"""

from copy import deepcopy
from pathlib import Path

import yaml


def configs(folder: Path, plain: Path) -> dict[str, Path]:
    """Write configs that together reach every rule, and empty files for all that they name.

    Parameters
    ----------
    folder
        Where they are planned.
    plain
        A config of drawings and generated responses, which the others change.
    """
    drawn = yaml.safe_load(plain.read_text(encoding="utf-8"))
    parts = {"think": "think", "answer": "answer"}
    imported = {"name": "Mine", "responses": {"path": "texts.parquet"} | parts}
    whole = deepcopy(drawn) | {"run": "whole", "review": {"decisions": "decisions.json"}}
    whole["images"]["source"]["path"] = "results/whole/source"
    whole["models"]["mine"] = imported
    whole["benchmarked"] = [*whole["benchmarked"], "mine"]
    whole["statistics"]["datasets"] = {
        "visual_cot": "train.jsonl",
        "llava_cot": "train.jsonl",
        "emma": "texts.parquet",
        "mac": "image2text.csv",
    }
    found = {"whole": whole}
    sources = {
        "packed": {"kind": "outer_archive", "path": "unpacked", "archive": "packed.tar"},
        "labelled": {"kind": "hub_parquet", "path": "source", "labels": "labels.txt"},
        "listed": {
            "kind": "listing",
            "path": "texts.parquet",
            "image": "image",
            "label": "label",
            "labels": "labels.txt",
            "pictures": True,
        },
    }
    for name, source in sources.items():
        found[name] = deepcopy(drawn) | {"run": name, "review": whole["review"]}
        found[name]["images"]["source"] = source
    images = found["listed"]["images"]
    needed = ("classes", "source", "criteria", "preparation")
    found["listed"]["images"] = {key: images[key] for key in needed}
    for name in (
        *("texts.parquet", "labels.txt", "packed.tar", "decisions.json", "train.jsonl"),
        *("image2text.csv", "source/train.parquet"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    files = {name: folder / "config" / f"{name}.yaml" for name in found}
    for name, file in files.items():
        file.write_text(yaml.safe_dump(found[name], sort_keys=False), encoding="utf-8")
    return files
