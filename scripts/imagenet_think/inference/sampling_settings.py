"""The sampling settings that a checkpoint publishes in its `generation_config.json`.

A model whose `decoding` says `from_checkpoint` is sampled as transformers' `generate` would sample
it if its caller named no setting: many authors evaluate like that.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imagenet_think.core import model_sources

FILE = "generation_config.json"

_ALLOWED: dict[str, Callable[[Any], bool]] = {
    "temperature": lambda value: value >= 0,
    "top_p": lambda value: 0 < value <= 1,
    "top_k": lambda value: isinstance(value, int) and value >= 0,
    "repetition_penalty": lambda value: value > 0,
}
"""The settings that the engines apply, and which values they take."""

_UNSET = {"temperature": 1.0, "top_p": 1.0, "top_k": 50, "repetition_penalty": 1.0}
"""What transformers' `generate` takes for a setting that is not published."""

_GREEDY = {"temperature": 0.0, "top_p": 1.0, "top_k": 0}

_WITHOUT_EFFECT = {
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("typical_p", "encoder_repetition_penalty", "length_penalty"), 1.0),
}
"""Values, besides zero, of other settings that change nothing."""

_NOT_SAMPLING = {
    *("_from_model_config", "transformers_version"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("max_length", "max_new_tokens", "use_cache", "cache_implementation", "cache_config"),
    *("return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores"),
}
"""Other keys of the file; the length limit is always the run's."""


def resolved(model: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Return the decoding of a model, its entry in the config, with every value in force.

    With `from_checkpoint`, settings that the config does not name are the checkpoint's. They are
    read in its `folder`; if that is not given, a repository on the hub is asked for this one file,
    unless it is in the hub's cache.

    Raises
    ------
    ValueError
        If the checkpoint has no such file, or publishes a setting that the engines do not apply.
    """
    decoding = dict(model["decoding"])
    if not decoding.pop("from_checkpoint", False):
        return decoding
    if folder is None:
        folder = _folder(*model_sources.pretrained(model["repository"], model.get("revision")))
    return {**_in_force(published(folder), folder / FILE), **decoding}


def published(folder: Path) -> dict[str, Any]:
    """Return all settings of a checkpoint that affect which tokens are chosen, as in its file.

    No file, or one that holds no JSON object, is a `ValueError`.
    """
    file = folder / FILE
    if not file.exists():
        raise ValueError(_missing(folder))
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object")
    return {
        key: value
        for key, value in content.items()
        if value is not None and key not in _NOT_SAMPLING
    }


def _in_force(settings: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return what published settings come to, if the engines apply all of them."""
    for key, value in settings.items():
        if key in _ALLOWED:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            applies = number and math.isfinite(value) and _ALLOWED[key](value)
        elif key == "do_sample":
            applies = isinstance(value, bool)
        else:
            applies = value in (False, 0, [], {}, _WITHOUT_EFFECT.get(key))
        if not applies:
            raise ValueError(
                f"{file} sets {key} to {value!r}, which the engines do not apply: name the "
                f"sampling settings in the model's `decoding` instead of from_checkpoint"
            )
    values = _UNSET | {key: value for key, value in settings.items() if key in _ALLOWED}
    return values if settings.get("do_sample") else values | _GREEDY


def _folder(path: str, revision: str | None) -> Path:
    """Return the folder with the file of a checkpoint: folder or hub id, and a revision."""
    if revision is None:
        return Path(path)
    from huggingface_hub import errors, hf_hub_download  # only here: it takes a second

    try:
        return Path(hf_hub_download(path, FILE, revision=revision)).parent
    except errors.LocalEntryNotFoundError as error:
        raise ValueError(
            f"{path}: {FILE} is not in the hub's cache, and the hub cannot be reached ({error})"
        ) from error
    except errors.EntryNotFoundError as error:
        raise ValueError(_missing(path)) from error


def _missing(checkpoint: object) -> str:
    return (
        f"{checkpoint} has no {FILE}: name the sampling settings in the model's `decoding` instead "
        "of from_checkpoint"
    )
