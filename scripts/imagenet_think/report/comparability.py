"""Why a run's numbers cannot be compared with the paper's: how the run differs from it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from imagenet_think.core.model_sources import PACKAGE
from imagenet_think.core.settings import Values, prompt
from imagenet_think.core.wording import series
from imagenet_think.images import sources
from imagenet_think.metrics import registry
from imagenet_think.metrics.definitions import vectors
from imagenet_think.report import evidence

REPOSITORIES = {
    "glm-4.1v": "zai-org/GLM-4.1V-9B-Thinking",
    "kimi-vl": "moonshotai/Kimi-VL-A3B-Thinking-2506",
    "internvl3.5": "OpenGVLab/InternVL3_5-8B-HF",
    "r1-onevision": "Fancy-MLLM/R1-Onevision-7B",
    "openvlthinker": "ydeng9/OpenVLThinker-7B",
    "visionthink": "Senqiao/VisionThink-Efficient",
    "vl-rethinker": "TIGER-Lab/VL-Rethinker-7B",
}
"""Where the paper's models are published by their authors, by the config's keys."""

MINIATURES = "resources/miniatures/"
"""Where the repository's small checkpoints are."""

TEACHERS = ("glm-4.1v", "kimi-vl")

TOKENIZER = "Qwen/Qwen2.5-VL-7B-Instruct"
"""The paper names no tokenizer; with this one, its printed texts come near its average length."""

PROMPTS = (
    "Please analyze this image step by step. First, describe what you observe, then explain your "
    "reasoning process, and finally provide your conclusion about the main content or concept "
    "depicted.",
    "Analyze this image step by step. Explain your reasoning process. Describe this image and give "
    "as much information as possible",
)
"""The two prompts that the paper prints, in section 3.2 and in Figure 2."""

OTHER_PROMPT = "the prompt is neither of the paper's two"

VECTORS = vectors.CAVEAT
"""The only caveat of the paper's own run: it holds for every run."""

IMAGES, TEXTS, TOKENS, SCORES = "images", "texts", "tokens", "scores"
"""What numbers depend on: the sample, the teachers' texts, the tokenizer, the benchmark."""

SEPARATOR = "\n"
"""Separates reasons in the column `reasons` of the comparison; none contains a line break."""


class Caveat(NamedTuple):
    """A reason why some of a run's numbers cannot be compared with the paper's.

    `words` is a clause on one line. The numbers affected are those that depend on any of the
    `subjects`: `IMAGES`, `TEXTS`, `TOKENS`, `SCORES`, a benchmarked model's key, or a metric's.
    """

    words: str
    subjects: frozenset[str]


def _caveat(words: str, *subjects: str) -> Caveat:
    return Caveat(" ".join(words.split()), frozenset(subjects))


def caveats(config: Values, run: Mapping[str, int], paper: Mapping[str, int]) -> Iterator[Caveat]:
    """Yield why a run's numbers cannot be compared with the paper's.

    For the paper's own run, only `VECTORS` remains.

    Parameters
    ----------
    config
        What `of_dataset` reads, `benchmarked`, their names and repositories, `benchmark.images`,
        the repository of the tokenizer, and what the caveats of metrics read.
    run, paper
        Rows of Table 2, ours with every column.
    """
    yield from of_dataset(config, run, paper)
    if _other_prompt(config, "benchmarked") and not _other_prompt(config, "teachers"):
        yield _caveat(OTHER_PROMPT, SCORES)
    yield from _of_models(config, "benchmarked", ())
    benchmark, tokenizer = config["benchmark"], config["statistics"]["tokenizer"]["repository"]
    if benchmark["images"] is not None and benchmark["images"] < run["images"]:
        yield _caveat(f"{benchmark['images']:,} of the images are scored", SCORES)
    if tokenizer != TOKENIZER:
        own = tokenizer.removeprefix(PACKAGE)
        words = f"tokens are {own}'s (the paper names no tokenizer, {TOKENIZER}'s fits)"
        yield _caveat(words, TOKENS)
    for metric in registry.metrics():
        if own_words := metric.caveat(benchmark):
            yield _caveat(own_words, *(measure.name for measure in metric.measures))


def is_miniature(model: Values) -> bool:
    """Return whether a model of the config is one of the repository's small checkpoints."""
    return model.get("repository", "").startswith(MINIATURES)


def is_the_papers(prompt: str) -> bool:
    """Return whether a prompt is one of the paper's two, apart from white space."""
    return " ".join(prompt.split()) in PROMPTS


def _other_prompt(config: Values, role: str) -> bool:
    """Return whether models of a role were prompted otherwise; imported responses were not."""
    prompted = any("repository" in config["models"][key] for key in config[role])
    return prompted and not is_the_papers(prompt(config))


def of_dataset(
    config: Values, run: Mapping[str, int], paper: Mapping[str, int]
) -> Iterator[Caveat]:
    """Yield how a run's images and teachers' texts differ from the paper's.

    Parameters
    ----------
    config
        `images.source.kind`, `prompt`, `prompts.{prompt}`, `teachers`, and their names and
        repositories.
    run, paper
        Rows of Table 2, ours with every column.
    """
    kind = config["images"]["source"]["kind"]
    other_images = sources.get(kind).not_comparable
    if not other_images and evidence.owner(kind, run) != evidence.IMAGENET:
        other_images = f"the images are not known to be ImageNet-21k's: {evidence.names(run)}"
    if other_images:
        yield _caveat(other_images, IMAGES, TEXTS, SCORES)
    if (run["images"], run["classes"]) != (paper["images"], paper["classes"]):
        words = (
            f"the sample is {run['images']:,} images of {run['classes']:,} classes, not "
            f"{paper['images']:,} of {paper['classes']:,}"
        )
        yield _caveat(words, IMAGES, TEXTS, SCORES)
    if _other_prompt(config, "teachers"):
        yield _caveat(OTHER_PROMPT, TEXTS, SCORES)
    if tuple(config["teachers"]) != TEACHERS:
        teachers = _listed(config, config["teachers"])
        yield _caveat(f"the teachers are {teachers}, not the paper's, in its order", TEXTS, SCORES)
    yield from _of_models(config, "teachers", (TEXTS, SCORES))


def _of_models(config: Values, role: str, subjects: tuple[str, ...]) -> Iterator[Caveat]:
    """Yield the models of a role whose weights or responses are not the paper's models'."""
    others, imported = [], []
    for key in config[role]:
        repository = config["models"][key].get("repository")
        if repository is None:
            imported.append(key)
        elif key in REPOSITORIES and repository != REPOSITORIES[key]:
            others.append(key)
    what = {"teachers": "teachers", "benchmarked": "benchmarked models"}[role]
    for keys, words in (
        (others, "have other weights than the paper's"),
        (imported, "were not run here, their responses are imported"),
    ):
        if keys:
            yield _caveat(f"the {what} {_listed(config, keys)} {words}", *(subjects or keys))


def _listed(config: Values, keys: Iterable[str]) -> str:
    return series(config["models"][key]["name"] for key in keys)


def split_reasons(comparison: pl.DataFrame) -> list[str]:
    """Return the distinct reasons in the column `reasons`, in order of appearance."""
    given = comparison["reasons"].drop_nulls().str.split(SEPARATOR).explode()
    return given.unique(maintain_order=True).to_list()
