"""The fingerprint of a response: a digest of everything it depends on, its key in the journal."""

from collections.abc import Mapping
from typing import Any

from imagenet_think.core.digests import digest_settings, digest_text
from imagenet_think.core.settings import prompt
from imagenet_think.inference import sampling_settings, seeding

_MODEL_KEYS = (
    "family",
    "repository",
    "processor",
    "system",
    "template",
    "second_round",
    "prefix",
    "close_thought",
    "image",
)


def response_settings(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the settings that determine a model's responses, from the keys its job declares.

    Returns
    -------
    dict
        `model` (its entry in the config, with its `key` and every value of its `decoding`),
        `prompt` (`id` and `text`), `preparation`, `length_policy` and `seed`.

    Raises
    ------
    ValueError
        If sampling settings are the checkpoint's, and cannot be read or applied.
    """
    own = settings["models"][model]
    return {
        "model": {**own, "key": model, "decoding": sampling_settings.resolved(own)},
        "prompt": {"id": settings["prompt"], "text": prompt(settings)},
        "preparation": settings["images"]["preparation"],
        "length_policy": settings["length_policy"],
        "seed": settings["seed"],
    }


_AS_BEFORE = ("scaling", "training")
"""Entry of `second_round` that was the only way before it had a name."""


def settings_digest(settings: Mapping[str, Any], revisions: tuple[str, str]) -> str:
    """Return the digest of everything that determines a model's responses, except the image.

    It does not cover how and where they are computed (engine, attention, dtype, batch size,
    versions), nor the model's name. It covers the output format only if that decides whether a
    thought is open and has to be closed, and seed and number of attempts only if decoding samples.
    Nor does it cover how near-repeats are found: that ends responses that would go on in the same
    way, and changes none that ended by itself. A response that is in the journal is thus kept with
    any such setting, even one that ran into its length limit with none.

    Parameters
    ----------
    settings
        From `response_settings`.
    revisions
        Revisions of the model and of its processor: commits, or digests of local files.
    """
    model, length_policy = settings["model"], settings["length_policy"]
    decoding, random = model["decoding"], seeding.at_random(model["decoding"])
    return digest_settings(
        {
            "model": {key: _named(model[key]) for key in _MODEL_KEYS if model.get(key)},
            "output": model["output"] if model.get("close_thought") else None,
            "revisions": list(revisions),
            "prompt": settings["prompt"]["text"],
            "preparation": settings["preparation"],
            "decoding": decoding,
            "loop": {k: v for k, v in length_policy["loop"].items() if k != "near_repeats"},
            "attempts": length_policy["attempts"] if random else None,
            "seed": settings["seed"] if random else None,
        }
    )


def _named(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: own for key, own in value.items() if (key, own) != _AS_BEFORE}


def fingerprint(settings: str, source_sha256: str) -> str:
    """Return the fingerprint of a response from the digests of its settings and source image."""
    return digest_text(settings, source_sha256)
