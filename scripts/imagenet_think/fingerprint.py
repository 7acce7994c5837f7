"""What a response depends on, as one digest: the key under which the journal keeps it."""

from imagenet_think.files import digest_settings, digest_text

_MODEL_KEYS = ("family", "repository", "processor", "system", "template", "second_round", "image")


def settings_digest(
    model: dict,
    revisions: tuple[str, ...],
    prompt: str,
    preparation: dict,
    seed: int,
) -> str:
    """Return the digest of everything but the image that decides what a model answers.

    How fast and where it is computed (engine, attention, dtype, batch size, versions) does not
    belong to it, nor do the model's name and how its text is taken apart.

    Parameters
    ----------
    model
        The model's entry in the config.
    revisions
        Revisions of the model and of its processor: commits, or digests of local files.
    prompt
        The text of the prompt.
    preparation
        How images were prepared.
    seed
        The run's seed; it counts only where decoding draws at random.
    """
    decoding = model["decoding"]
    return digest_settings(
        {
            "model": {key: model[key] for key in _MODEL_KEYS if model.get(key) is not None},
            "revisions": list(revisions),
            "prompt": prompt,
            "preparation": preparation,
            "decoding": decoding,
            "seed": seed if decoding.get("temperature") else None,
        }
    )


def fingerprint(settings: str, source_sha256: str) -> str:
    """Return the fingerprint of a response: of the settings' digest and the source image's."""
    return digest_text(settings, source_sha256)
