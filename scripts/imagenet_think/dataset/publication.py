"""What card and Croissant file say about a dataset: its name, licences, biases and limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from imagenet_think.core.settings import Values
from imagenet_think.images import sources
from imagenet_think.images.sources import Source
from imagenet_think.report import comparability

PAPER = "https://arxiv.org/abs/2510.01582"
IMAGENET_TERMS = "https://image-net.org/download"

LICENSES = {
    "cc-by-nc-4.0": ("CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "cc-by-nc-sa-4.0": ("CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "cc-by-4.0": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "cc-by-sa-4.0": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "cc0-1.0": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "apache-2.0": ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT", "https://opensource.org/license/mit"),
}
"""Licences of texts by their identifiers on the hub: the printed name, and the address."""

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
        "Every text reflects the tendencies of the model that wrote it, of its architecture and of "
        "its training data. The paper (section 4.5) expects Kimi-VL-A3B-Thinking-2506, a mixture "
        "of experts, to favour systematic step-by-step analysis, and GLM-4.1V-9B-Thinking, trained "
        "by reinforcement learning with curriculum sampling, to favour exhaustive analysis. A "
        "model trained on these texts adopts such habits."
    ),
    "Where the pictures come from": (
        "ImageNet-21k was collected from the web and does not represent all parts of the world "
        "equally. Sampling its classes evenly does not correct that: which places, objects and "
        "people appear, and what classes are called, is ImageNet's choice."
    ),
    "One language, one way to reason": (
        "Prompts and texts are in English, and the style of reasoning is the one common in such "
        "texts. How other cultures look at a picture and argue about it is not represented."
    ),
}
"""Biases by heading: section 4.5 of the paper in other words."""

LIMITS = {
    "Texts are not checked one by one": (
        "All of them are machine-written. An answer can be wrong; wrong thinking can lead to a "
        "right answer, and the reverse. The status only says that a response could be parsed into "
        "thinking and answer, not that either is true."
    ),
    "Thinking is not a record of a computation": (
        "It is text that the model wrote before its answer. That it precedes the answer does not "
        "show that the answer follows from it."
    ),
    "What was filtered": (
        "The pipeline filters images by what can be measured, such as size, contrast, sharpness, "
        "noise and similarity to others, and by nothing else by default: not by whether people are "
        "shown, whether an image is copyrighted or harmful, or whether its class is right. Texts "
        "are not filtered by content."
    ),
}
"""Limitations by heading."""


def source(config: Values) -> Source:
    """Return the kind of source of the images: its `owner` and its description for the `card`."""
    return sources.get(config["images"]["source"]["kind"])


def teacher_names(config: Values) -> list[str]:
    """Return the printed names of teacher 1 and teacher 2."""
    return [config["models"][key]["name"] for key in config["teachers"]]


def identity(
    config: Values, images: Mapping[str, int], reported: str | Path
) -> tuple[str, str | None]:
    """Return a dataset's printed name, and how it differs from the paper's, or None.

    `config` has `run` and what `comparability.of_dataset` reads; `images` is the row of the run's
    Table 2, and `reported` the YAML of what the paper reports.
    """
    paper = yaml.safe_load(Path(reported).read_text(encoding="utf-8"))["table2"]
    differences = [each.words for each in comparability.of_dataset(config, images, paper)]
    if not differences:
        return "ImageNet-Think-250K", None
    run = config["run"]
    notice = (
        f"This is the run {run}, not the paper's: none of its numbers are those of "
        f"ImageNet-Think-250K, because {'; '.join(differences)}."
    )
    repositories = [config["models"][key].get("repository", "") for key in config["teachers"]]
    if any(name.startswith("resources/miniatures/") for name in repositories):
        notice += (
            " Its texts were written by miniature checkpoints of a few megabytes, trained on "
            "drawings: they show that the pipeline works, and nothing about the real models."
        )
    return f"ImageNet-Think (run {run})", notice


def description(images: Mapping[str, int], teachers: Sequence[str], full: bool) -> str:
    """Return in two sentences what the dataset is; `images` is the row of Table 2."""
    pictures = (
        "The images are included."
        if full
        else "The images are not included, but identified by name and checksum."
    )
    return (
        f"{images['images']:,} images of {images['classes']:,} classes, each described step by "
        f"step by the reasoning vision-language models {' and '.join(teachers)}, with thinking and "
        f"answer in separate columns. {pictures}"
    )


def places(dataset: Values, folder: Path, full: bool) -> dict[str, str]:
    """Return where `load_dataset` and readers of parquet find the dataset, and its web page.

    It is on the hub if the config's section `dataset` names a repository; the full form, with
    images, is never uploaded and stays in its local folder.
    """
    repository = dataset["repository"]
    if full or not repository:
        return {"place": folder.as_posix(), "files": folder.as_posix(), "url": PAPER}
    return {
        "place": repository,
        "files": f"hf://datasets/{repository}",
        "url": f"https://huggingface.co/datasets/{repository}",
    }
