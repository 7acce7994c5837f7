"""What card and Croissant file say about a dataset: its name, licences, biases and limits.

Every statement follows from the run's config and data (`imagenet_think.report.evidence`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from imagenet_think.core.settings import Values
from imagenet_think.core.wording import count, series
from imagenet_think.images import sources
from imagenet_think.images.criteria import by_user, rules
from imagenet_think.images.sources import Source
from imagenet_think.report import comparability, evidence
from imagenet_think.report.evidence import Evidence

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

CITATION = """\
@article{imagenetthink2025,
  title   = {ImageNet-Think-250K: A Large-Scale Synthetic Dataset for Multimodal Reasoning for
             Vision Language Models},
  author  = {Chitty-Venkata, Krishna Teja and Emani, Murali},
  journal = {arXiv preprint arXiv:2510.01582},
  year    = {2025}
}"""

EXPECTED = {
    "kimi-vl": "a mixture of experts, to favour systematic step-by-step analysis",
    "glm-4.1v": "trained by reinforcement learning with curriculum sampling, to favour exhaustive "
    "analysis",
}
"""What section 4.5 of the paper expects of its teachers, by their keys."""


def keywords(known: Evidence) -> list[str]:
    """Return the dataset's tags on the hub."""
    return [
        *(["reasoning", "chain-of-thought"] if any(known.thinking) else []),
        "vision-language",
        *(["imagenet"] if known.owner == evidence.IMAGENET else []),
        *([] if any(known.imported) else ["synthetic"]),
    ]


def biases(config: Values, known: Evidence) -> dict[str, str]:
    """Return biases of the dataset by heading: section 4.5 of the paper, where it applies."""
    habits = (
        "Every text reflects the tendencies of the model that wrote it, of its architecture and of "
        "its training data, and a model trained on these texts adopts such habits."
    )
    expected = [
        f"{config['models'][key]['name']}, {words}"
        for key, words in EXPECTED.items()
        if key in config["teachers"]
        and config["models"][key].get("repository") == comparability.REPOSITORIES[key]
    ]
    if expected:
        habits += f" The paper (section 4.5) expects {', and '.join(expected)}."
    found = {"The models' habits": habits, "Where the images come from": _selection(known)}
    shares = evidence.percentages(known.english)
    if known.is_english:
        return found | {
            "One language, one way to reason": (
                f"{shares} of the teachers' responses are recognized as English, and the style of "
                "reasoning is the one common in such texts. How other cultures look at an image "
                "and argue about it is not represented."
            )
        }
    return found | {
        "Languages": (
            f"{shares} of the teachers' responses are recognized as English; the language of the "
            "others is not determined."
        )
    }


def _selection(known: Evidence) -> str:
    """Return what the choice of images leaves out."""
    fewest, most = known.images["min_per_class"], known.images["max_per_class"]
    return {
        evidence.IMAGENET: (
            "ImageNet was collected from the web and does not represent all parts of the world "
            f"equally. That the sample has {fewest} to {most} images per class does not correct "
            "that: which places, objects and people appear, and what classes are called, is "
            "ImageNet's choice."
        ),
        evidence.PIPELINE: "The pipeline drew them: they represent nothing else.",
        evidence.USER: (
            "They are the user's own; what they represent and what they leave out is not known "
            "here."
        ),
        evidence.UNKNOWN: "What they represent and what they leave out is not known here.",
    }[known.owner]


def limits(config: Values, known: Evidence) -> dict[str, str]:
    """Return limitations of the dataset by heading."""
    unchecked = (
        "An answer can be wrong. The status only says that a response could be parsed, not that it "
        "is true."
    )
    if any(known.thinking):
        unchecked = (
            "An answer can be wrong; wrong thinking can lead to a right answer, and the reverse. "
            "The status only says that a response could be parsed into thinking and answer, not "
            "that either is true."
        )
    if not any(known.imported):
        unchecked = f"All of them are machine-written. {unchecked}"
    if config["review"]["decisions"] is None:
        unchecked += " The run has no decisions of reviewers."
    found = {"Texts are not checked one by one": unchecked}
    if any(known.thinking):
        found["Thinking is not a record of a computation"] = (
            "It is text that precedes the answer, which does not show that the answer follows from "
            "it."
        )
    return found | {"What was filtered": f"{_filters(config)} Texts are not filtered by content."}


def _filters(config: Values) -> str:
    """Return which images were left out, and by what no image was judged."""
    if not source(config).sampled:
        return (
            "Images were not filtered: they are those that the run's files name, except any that "
            "cannot be decoded."
        )
    rejected = f"An image was rejected if it {rejections(config)}."
    if by_user(config["images"]["criteria"]):
        return rejected
    return (
        f"{rejected} Nothing else was checked: not whether people are shown, whether an image is "
        "copyrighted or harmful, or whether its class is right."
    )


def rejections(config: Values) -> str:
    """Return why images were rejected: completes "An image was rejected if it …"."""
    return series(["cannot be decoded", *rules(config["images"]["criteria"])], "or")


def source(config: Values) -> Source:
    """Return the kind of source of the images."""
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
    models = [config["models"][key] for key in config["teachers"]]
    if small := [model["name"] for model in models if comparability.is_miniature(model)]:
        notice += (
            f" {series(small)} {'is a' if len(small) == 1 else 'are'} miniature "
            f"{'checkpoint' if len(small) == 1 else 'checkpoints'} of a few megabytes, trained on "
            "drawings: the texts show that the pipeline works, and nothing about the real models."
        )
    return f"ImageNet-Think (run {run})", notice


def description(known: Evidence, teachers: Sequence[str], failed: int, full: bool) -> str:
    """Return in a few sentences what the dataset is.

    `teachers` are their names; `failed` rows are in the configuration of this name.
    """
    images = known.images
    thinkers = [name for name, own in zip(teachers, known.thinking, strict=True) if own]
    thinking = f" The thinking of {series(thinkers)} is separate from the answers."
    left = f" Of {count(failed, 'image')}, a response failed or could not be parsed."
    pictures = (
        "The images are included."
        if full
        else "The images are not included, but identified by name, and by checksum where known."
    )
    return (
        f"{count(images['images'], 'image')} of {count(images['classes'], 'class', 'classes')}, "
        f"each with a response of each of the vision-language models {' and '.join(teachers)}."
        f"{thinking if thinkers else ''}{left if failed else ''} {pictures}"
    )


def collection(known: Evidence, teachers: Sequence[str]) -> str:
    """Return in a few sentences how the texts were made; `teachers` are their names."""
    imported = [name for name, own in zip(teachers, known.imported, strict=True) if own]
    prompted = [name for name in teachers if name not in imported]
    told = []
    if prompted:
        told.append(
            f"{' and '.join(prompted)} {'was' if len(prompted) == 1 else 'were'} prompted with "
            "each image and the same text; each response was parsed by the rule of the model's "
            "format."
        )
    if imported:
        told.append(
            f"The responses of {' and '.join(imported)} were made elsewhere and imported: how is "
            "not known here."
        )
    return " ".join(told)


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
