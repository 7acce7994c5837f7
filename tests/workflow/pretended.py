"""Runs that are pretended to be finished: empty files, recorded as a run would record them.

For what a test can't run: texts made elsewhere, every layout of the source, decisions of people,
the dataset with images, the paper.
"""

import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from imagenet_think import workflow_hooks

from .conftest import ROOT


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


def pretend(folder: Path, config: Path, targets: Iterable[str]) -> None:
    """Make what is missing behind some targets, empty, and record its jobs as finished."""
    with planned(folder, config, targets) as workflow:
        jobs = [
            job for job in workflow.dag.jobs if any(not Path(file).exists() for file in job.output)
        ]
        for job in jobs:
            for file in job.output:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
                if file.is_directory:
                    Path(file).mkdir()
                file.touch_or_create()
            if job.benchmark:  # as much a product as an output, where a rule is the target
                Path(job.benchmark).parent.mkdir(parents=True, exist_ok=True)
                Path(job.benchmark).touch()
        workflow.iocache.deactivate()  # it remembers that they were missing
        now = time.time()  # one time for all: no file is newer than what is made of it
        for job in jobs:
            for file in job.output:
                place = Path(file, ".snakemake_timestamp") if file.is_directory else file
                os.utime(place, (now, now))
        for job in jobs:
            workflow.async_run(workflow.persistence.finished(job))


def planned(folder: Path, config: Path, targets: Iterable[str]) -> AbstractContextManager[Any]:
    """Return the plan of some targets in a folder, with the rules and the code of this checkout."""
    return workflow_hooks.planned(ROOT / "Snakefile", folder, config, targets)
