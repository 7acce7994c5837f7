"""Families of vision-language models: one module a family, all with the same two loaders.

A family module has `load_processor(path, image_settings, *, revision)`, `load_model(path, *, dtype,
attention, device, revision)` and `END_TOKENS`, the tokens that end an answer. `VLLM_OVERRIDES`,
where there is one, is what vLLM must be told beyond the checkpoint's config. Everything is read
from a local folder or from a snapshot of a hub repository; no code of the repository is run, and
neither torchvision nor a video part is needed.
"""

import importlib
from types import ModuleType

NAMES = ("glm4v", "internvl", "kimi_vl", "qwen2_5_vl")


def get(name: str) -> ModuleType:
    """Return the module of a family.

    Raises
    ------
    ValueError
        If there is no such family; the message names those there are.
    """
    if name not in NAMES:
        raise ValueError(f"unknown model family {name!r}; known are {', '.join(NAMES)}")
    return importlib.import_module(f"imagenet_think.inference.families.{name}")


def stop_ids(family: ModuleType, processor, model) -> list[int]:
    """Return the tokens at which a row ends, in ascending order.

    They are those of the checkpoint's generation settings and the family's own (`END_TOKENS`),
    because published generation settings were seen to lack some.
    """
    vocabulary = processor.tokenizer.get_vocab()
    named = {vocabulary[token] for token in family.END_TOKENS if token in vocabulary}
    return sorted(named | set(model.generation_config.eos_token_id))
