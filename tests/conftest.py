import os

os.environ["HF_HUB_OFFLINE"] = "1"  # no test contacts the hub

import functools

import pytest
from hypothesis import HealthCheck, settings

# No test depends on how fast the machine is.
settings.register_profile(
    "any speed",
    parent=settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any speed")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A function from a family's name to the folder of a random checkpoint, built once."""
    from tests.tiny_checkpoints import build

    root = tmp_path_factory.mktemp("checkpoints")
    return functools.cache(lambda family: build(family, root / family))


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
