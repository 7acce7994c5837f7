import os

os.environ["HF_HUB_OFFLINE"] = "1"  # no test contacts the hub

import functools
import json

import pytest
from hypothesis import HealthCheck, settings

# No test depends on how fast the machine is.
settings.register_profile(
    "any speed", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any speed")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A function from a family's name to the folder of a random checkpoint, built once."""
    from imagenet_think.inference import small_models

    root = tmp_path_factory.mktemp("checkpoints")

    @functools.cache
    def build(name):
        # With this seed no greedy text in the tests has an image token in it. After one that a
        # random Kimi-VL generates, the engine and transformers' `generate`, with which the tests
        # compare it, differ: the engine embeds that token, transformers' class embeds token 0.
        folder = small_models.build(name, root / name, small_models.TINY, seed=2)
        # Published sampling settings, which must not affect a run's decoding.
        _edit(folder / "generation_config.json", do_sample=True, temperature=0.2, top_k=3)
        if name == "qwen2_5_vl":  # attention in windows, in one of two layers
            _edit(
                folder / "config.json", "vision_config", window_size=56, fullatt_block_indexes=[1]
            )
        return folder

    return build


def _edit(path, *keys, **values):
    content = json.loads(path.read_text())
    functools.reduce(lambda part, key: part[key], keys, content).update(values)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint):
    """A function from a family's name to its module, processor and model in float32 on the CPU."""
    import torch

    from imagenet_think.inference import families

    @functools.cache
    def load(name):
        family, folder = families.get(name), tiny_checkpoint(name)
        model = family.load_model(folder, dtype=torch.float32, attention="sdpa", device="cpu")
        return family, family.load_processor(folder), model

    return load
