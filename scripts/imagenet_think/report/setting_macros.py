"""Macros of the paper's text that state settings of the run."""

from collections.abc import Mapping
from typing import Any

from imagenet_think.core.model_sources import PACKAGE
from imagenet_think.core.settings import Values
from imagenet_think.core.wording import series
from imagenet_think.images import criteria, sources
from imagenet_think.metrics import registry
from imagenet_think.report.escaping import latex
from imagenet_think.report.macros import (
    MISSING,
    number,
    percent,
    setting,
    spelled,
    table_rows,
)

PLACES = ("One", "Two")
"""Suffixes of the macros about teacher 1 and teacher 2."""


def setting_macros(settings: Values) -> dict[str, str]:
    """Return the macros that state settings; `settings` are those of the rule export_numbers."""
    return {
        **_run(settings),
        **_images(settings["images"]),
        **_benchmark(settings),
        "TestPerClass": spelled(settings["dataset"]["test"]),
        "ValidationPerClass": spelled(settings["dataset"]["validation"]),
    }


def models_in_order(settings: Values) -> dict[str, Values]:
    """Return the models' sections of the config by key, teachers first."""
    keys = dict.fromkeys([*settings["teachers"], *settings["benchmarked"]])
    return {key: settings["models"][key] for key in keys}


def _run(settings: Values) -> dict[str, str]:
    """Return the run's name, seed, prompt, tokenizer and models."""
    names = {key: latex(model["name"]) for key, model in settings["models"].items()}
    teachers = zip(PLACES, settings["teachers"], strict=True)
    return {
        "RunName": latex(settings["run"]),
        "Seed": str(settings["seed"]),
        "PromptName": latex(settings["prompt"]),
        "PromptText": latex(settings["prompts"][settings["prompt"]]),
        "TokenizerName": _repository(settings["statistics"]["tokenizer"]),
        "NumTeachers": spelled(len(settings["teachers"])),
        "NumBenchmarked": spelled(len(settings["benchmarked"])),
        **{f"Teacher{place}": names[key] for place, key in teachers},
        "BenchmarkedNames": series(names[key] for key in settings["benchmarked"]) or MISSING,
        "ModelRows": table_rows(
            [names[key], *_origin(model)] for key, model in models_in_order(settings).items()
        ),
    }


def _origin(model: Values) -> list[str]:
    """Return a model's repository and decoding limits, or the file of imported responses."""
    if "responses" in model:
        path = latex(model["responses"]["path"])
        return [rf"\texttt{{{path}}} (imported)", MISSING, MISSING]
    decoding = model["decoding"]
    return [
        rf"\texttt{{{_repository(model)}}}",
        number(decoding["max_new_tokens"]),
        setting(decoding["temperature"]),
    ]


def _images(images: Values) -> dict[str, str]:
    """Return how the images were sampled and prepared."""
    return {
        "ImageSource": sources.get(images["source"]["kind"]).paper,
        "BalancePower": setting(images["balance"]),
        "Criteria": latex(series(criteria.rules(images["criteria"]), "or")),
        "ComplexityStrata": number(images["complexity"]["strata"]),
        "LongestSide": number(images["preparation"]["longest_side"]),
        "JpegQuality": number(images["preparation"]["jpeg_quality"]),
    }


def _benchmark(settings: Values) -> dict[str, str]:
    """Return the encoders of the embedding metrics, the intervals and the ablated model."""
    benchmark = settings["benchmark"]
    macros = {
        "IntervalDraws": number(benchmark["intervals"]["draws"]),
        "IntervalLevel": percent(benchmark["intervals"]["level"], 1).replace(".0", ""),
        "AblationModel": latex(settings["models"][benchmark["ablation_model"]]["name"]),
    }
    for metric in registry.metrics():
        if metric.encoder:
            name, own = metric.measures[0].macro_name, benchmark[metric.name]
            macros |= {f"{name}Model": _repository(own), f"{name}Window": number(own["max_tokens"])}
    return macros


def _repository(section: Mapping[str, Any]) -> str:
    return latex(section["repository"].removeprefix(PACKAGE))
