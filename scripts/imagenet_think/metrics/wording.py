"""Wording of metrics' settings in captions and comparisons."""

from collections.abc import Collection, Mapping
from typing import Any

from imagenet_think.core import model_sources

_PRECISIONS = {"float32": "", "tf32": "TF32", "float16": "half precision (float16)"}

Section = Mapping[str, Any]
"""A metric's section of the config."""


def encoder(section: Section) -> str:
    """Return the name of a metric's encoder."""
    return model_sources.name(section["repository"])


def precision(section: Section) -> str:
    """Return a clause that names an encoder's precision, or "" for full precision."""
    name = _PRECISIONS[section["precision"]]
    return f", computed in {name}" if name else ""


def tokens(section: Section) -> str:
    """Say what counts as a token."""
    words = section["stop_words"]
    kept = {None: "stop words kept", "english": "English stop words dropped"}
    stop_words = kept[words] if words is None or words in kept else f"{len(words)} words dropped"
    return f"lower-cased matches of {section['token_pattern']} ({stop_words})"


def other_encoder(name: str, section: Section, known: Collection[str], why: str) -> str | None:
    """Say that a metric's encoder may not be the paper's; return None for a known one."""
    if section["repository"] in known:
        return None
    return f"{name} is computed with {encoder(section)} (the paper names no model, {why})"
