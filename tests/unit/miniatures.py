"""The trained miniatures, loaded as a run loads them."""

from pathlib import Path

from ruamel.yaml import YAML

from imagenet_think.inference.conversations import Policy
from imagenet_think.inference.engines import transformers_engine

ROOT = Path(__file__).parents[2]
MINIATURES = YAML(typ="safe").load((ROOT / "config" / "miniature.yaml").read_text())


def load_miniature(key, **changes):
    """Return a model's engine, and the policy with which the miniature run prompts it, once."""
    model = MINIATURES["models"][key] | {"key": key} | changes
    folder = (str(ROOT / model["repository"]), None)
    engine = transformers_engine.load(
        model,
        loop=MINIATURES["length_policy"]["loop"],
        checkpoint=folder,
        processor=folder,
        inference={"device": "cpu", "dtype": "float32", "attention": "sdpa", "batch_size": 6},
        threads=1,
    )
    return engine, Policy(model, MINIATURES["prompts"][MINIATURES["prompt"]], 1, lambda *_: 0)
