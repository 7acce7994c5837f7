"""The published checkpoints without their weights: configs, names and shapes, memory.

`resources/checkpoints/<family>/` holds, for each architecture, the config in its published layout,
the names and shapes of its weights, image settings and token ids; `sources.yaml` says where each
number is from. From these a family's own loader builds the model at full size on the meta device,
where nothing is allocated, or with random weights on a GPU, and its own processor, with a tokenizer
that has the right ids and no words.
"""

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from imagenet_think.inference import checkpoints, families

ROOT = Path(__file__).parents[3] / "resources" / "checkpoints"


def has_weights(folder: Path) -> bool:
    """Return whether a checkpoint's folder has all its weights."""
    return all(path.exists() for path in checkpoints.weight_files(folder))


def meta_model(
    family: str, source: Path | None = None, dtype: torch.dtype = torch.bfloat16
) -> transformers.PreTrainedModel:
    """Return a checkpoint's model on the meta device, after checking every weight.

    The family's own loader builds it: config, renaming of weights, checks and errors are those of a
    real load. `source` is the folder of a checkpoint; if it does not have all its weights, its
    config is checked against the published names and shapes. By default both are as published.
    """
    if source is None and not (ROOT / family).exists():
        raise ValueError(f"not on the disk, and {ROOT.name}/{family} does not describe it")
    source = source or ROOT / family
    if has_weights(source):
        return _load(family, source, dtype, "sdpa")
    with _checkpoint(source) as folder:
        shutil.copy(ROOT / family / checkpoints.SHAPES, folder)
        try:
            return _load(family, folder, dtype, "sdpa")
        except ValueError as error:
            raise ValueError(str(error).replace(str(folder), str(source))) from error


def random_model(
    family: str,
    device: str,
    dtype: torch.dtype,
    *,
    attention: str = "sdpa",
    source: Path | None = None,
    seed: int = 0,
) -> transformers.PreTrainedModel:
    """Return a model with random weights, drawn on the device itself.

    Weights are drawn as transformers draws those of a new model: normal with the class's small
    standard deviation, norms one, biases zero. So activations stay small in bfloat16 too. The
    config is that of a checkpoint's folder, `source`, or by default the published one.
    """
    with _checkpoint(source or ROOT / family) as folder:
        model = _load(family, folder, dtype, attention)
    model.to_empty(device=device)
    torch.manual_seed(seed)
    # Buffers that no checkpoint holds (rotary frequencies) are set here too.
    model.initialize_weights()
    return model.eval()


def processor(family: str, image_settings: dict | None = None) -> Any:
    """Return the family's processor with the published image settings and a placeholder tokenizer.

    As in the families' `load_processor`, `image_settings` override those.
    """
    with _checkpoint(ROOT / family) as folder:
        tokenizer(family).save_pretrained(folder)
        return families.get(family).load_processor(folder, image_settings)


def tokenizer(family: str) -> transformers.PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with the published vocabulary size and ids of named tokens.

    Its other tokens are never produced from a text, and decode to a word with their number.
    """
    tokens = json.loads((ROOT / family / "tokens.json").read_text(encoding="utf-8"))
    config = json.loads((ROOT / family / "config.json").read_text(encoding="utf-8"))
    named = {**tokens["special"], **tokens["plain"]}
    size = config.get("text_config", config)["vocab_size"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict(zip(letters, range(len(letters)), strict=True)) | named
    taken = set(vocabulary.values())
    vocabulary |= {f"\u0120unused{i}": i for i in range(size) if i not in taken}
    bytewise = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    bytewise.add_special_tokens(list(tokens["special"]))
    bytewise.add_tokens(list(tokens["plain"]))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        eos_token=tokens["end"],
        pad_token=tokens["padding"],
        clean_up_tokenization_spaces=False,
        extra_special_tokens=tokens.get("attributes", {}),
    )


def cached_bytes(
    config: transformers.PreTrainedConfig, dtype: torch.dtype, *, expanded: bool = False
) -> int:
    """Return the bytes that attention has to keep for one token in all layers.

    Keys and values of every head that has its own; for multi-head latent attention (DeepSeek-V2,
    arXiv 2405.04434, section 2.1) the latent and the rotated part of the keys or, if `expanded`,
    the keys and values of all heads that are computed from them.
    """
    text = config.get_text_config()
    latent = getattr(text, "kv_lora_rank", None)
    if latent and expanded:
        head = text.qk_nope_head_dim + text.qk_rope_head_dim + text.v_head_dim
        width = text.num_attention_heads * head
    elif latent:
        width = latent + text.qk_rope_head_dim
    else:
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        width = 2 * text.num_key_value_heads * head
    return text.num_hidden_layers * width * dtype.itemsize


def sources(family: str) -> dict:
    """Return what `sources.yaml` says of a family: `checkpoint` and, by file, a list of entries.

    An entry has `keys`, and `source` or `unchecked` (why), or both.
    """
    stated = yaml.safe_load((ROOT / "sources.yaml").read_text(encoding="utf-8"))["families"]
    return stated.get(family, {"checkpoint": None, "files": {}})


def unchecked(family: str, repository: str, folder: Path | None = None) -> list[str]:
    """Return what is not known for certain about a checkpoint of the family, one phrase each.

    What is in the files of its `folder`, as far as they exist, needs no other source.
    """
    held = {path.name for path in folder.iterdir()} if folder else set()
    if held & {"tokenizer.json", "tiktoken.model"}:
        held.add("tokens.json")
    stated = sources(family)
    doubts = [
        f"{file}: {', '.join(entry['keys'])} ({entry['unchecked']})"
        for file, entries in stated["files"].items()
        for entry in entries
        if "unchecked" in entry and file not in held
    ]
    if repository != stated["checkpoint"] and "config.json" not in held:
        known = stated["checkpoint"]
        source = f"taken to be that of {known}" if known else "nothing is recorded of the family"
        doubts.insert(0, f"config.json: all of it, {source}")
    return doubts


@contextmanager
def _checkpoint(source: Path) -> Iterator[Path]:
    """Copy a checkpoint's small files to a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in itertools.chain(source.glob("*.json"), source.glob("*.jinja")):
            shutil.copyfile(path, folder / path.name)
        yield folder


def _load(
    family: str, folder: Path, dtype: torch.dtype, attention: str
) -> transformers.PreTrainedModel:
    return families.get(family).load_model(folder, dtype=dtype, attention=attention, device="meta")
