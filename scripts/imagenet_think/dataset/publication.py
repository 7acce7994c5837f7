"""What a published run says of itself: its name, what it is not, its licences, its limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from imagenet_think.report import comparability

PAPER = "https://arxiv.org/abs/2510.01582"
IMAGENET_TERMS = "https://image-net.org/download"

FOREIGN = ("drawings", "folder")
"""Kinds of sources whose images are not ImageNet's."""

LICENSES = {
    "cc-by-nc-4.0": ("CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "cc-by-nc-sa-4.0": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "cc-by-4.0": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "cc-by-sa-4.0": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "cc0-1.0": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "apache-2.0": ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT", "https://opensource.org/license/mit"),
}
"""Licences of texts by the hub's identifiers: the printed name, and where it is written."""

KEYWORDS = ("reasoning", "chain-of-thought", "vision-language", "imagenet", "synthetic")

CITATION = """\
@article{imagenetthink2025,
  title   = {ImageNet-Think-250K: A Large-Scale Synthetic Dataset for Multimodal Reasoning for
             Vision Language Models},
  author  = {Chitty-Venkata, Krishna Teja and Emani, Murali},
  journal = {arXiv preprint arXiv:2510.01582},
  year    = {2025}
}"""

BIASES = {
    "The teachers' habits": (
        "Every text carries the leanings of the model that wrote it, of its architecture and of "
        "what it was trained on. The paper (section 4.5) expects Kimi-VL-A3B-Thinking-2506, a "
        "mixture of experts, to favour orderly step-by-step analysis, and GLM-4.1V-9B-Thinking, "
        "trained by reinforcement learning with curriculum sampling, to favour exhaustive "
        "analysis. A model trained on these texts takes such habits over."
    ),
    "Where the pictures come from": (
        "ImageNet-21k was collected from the web and does not show all parts of the world alike. "
        "Drawing evenly over its classes does not mend that: which places, objects and people "
        "appear, and how classes are named, is ImageNet's choice."
    ),
    "One language, one way to reason": (
        "Prompt and texts are in English, and the way of reasoning is the one that such texts "
        "have. Other cultures' ways to look at a picture and to argue about it are not in it."
    ),
}
"""What leans to one side, by heading: section 4.5 of the paper in other words."""

LIMITS = {
    "Nobody checked each text": (
        "All of them are machine-written. An answer can be wrong, and a thought can be wrong and "
        "end in a right answer, or the other way round. The status says only that a response could "
        "be taken apart into thinking and answer, not that either is true."
    ),
    "A thought is no record of a computation": (
        "It is text that the model wrote before its answer. That the answer follows from it is not "
        "shown by its standing there."
    ),
    "What was filtered": (
        "The pipeline judges images by size, contrast, sharpness, noise and likeness to others, "
        "and by nothing else of its own: not whether one shows people, is under copyright or "
        "harmful, nor whether its class is right. Texts are not filtered by what they say."
    ),
}
"""What the dataset cannot do, by heading."""


def published_as(taken: Mapping[str, Any], full: bool) -> dict[str, Any]:
    """Return what card and Croissant description say of a config.

    Parameters
    ----------
    taken
        What their rules declare: `run`, keys of `dataset`, and what `comparability.compared` reads.
    full
        Whether the dataset holds pictures.
    """
    return {
        "full": full,
        "run": taken["run"],
        "source": taken["images"]["source"]["kind"],
        "dataset": taken["dataset"],
        "compared": comparability.compared(taken),
    }


def identity(
    settings: Mapping[str, Any], images: Mapping[str, int], reported: str | Path
) -> tuple[str, str | None]:
    """Return a dataset's printed name, and what it says that is not the paper's, or None.

    Parameters
    ----------
    settings
        Of the run: its name as `run`, and as `compared` what
        `imagenet_think.report.comparability.of_dataset` reads.
    images
        The row of the run's Table 2.
    reported
        What the paper reports (YAML).
    """
    paper = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))["table2"]
    other = comparability.of_dataset(settings["compared"], images, paper)
    if not other:
        return "ImageNet-Think-250K", None
    run = settings["run"]
    sentences = [
        f"This is the run {run}, not the paper's: none of its numbers are those of "
        f"ImageNet-Think-250K, for {'; '.join(other)}."
    ]
    repositories = settings["compared"]["repositories"].values()
    if any(name and name.startswith("resources/miniatures/") for name in repositories):
        sentences.append(
            "Its texts were written by miniature checkpoints of a few megabytes, trained on "
            "drawings: they show that the pipeline works, and nothing about the real models."
        )
    return f"ImageNet-Think (run {run})", " ".join(sentences)


def description(images: int, classes: int, teachers: Sequence[str], full: bool) -> str:
    """Return in a few sentences what the dataset is."""
    pictures = (
        "The pictures are in it."
        if full
        else "The pictures are not in it: images are named and have checksums."
    )
    return (
        f"{images:,} images of {classes:,} classes, each described step by step by the reasoning "
        f"vision-language models {' and '.join(teachers)}, with what a model thought apart from "
        f"what it answered. {pictures}"
    )


def places(settings: Mapping[str, str | None], folder: Path, full: bool) -> dict[str, str]:
    """Return where `load_dataset` and readers of parquet find the dataset, and its page.

    That is on the hub, where the config names a repository; what holds pictures never goes there.

    Parameters
    ----------
    settings
        The section `dataset` of the config.
    folder
        Where it lies.
    full
        Whether it holds pictures.
    """
    repository = settings["repository"]
    if full or not repository:
        return {"place": folder.as_posix(), "files": folder.as_posix(), "url": PAPER}
    hub = f"hf://datasets/{repository}"
    return {
        "place": repository,
        "files": hub,
        "url": f"https://huggingface.co/datasets/{repository}",
    }
