"""Small checkpoints of every family, in the layout in which the family publishes its own.

`build` writes one with random weights: the miniature's models are trained from it, the tests and
the GPU session use it as it is. The pipeline loads it as it loads the real models. Token names,
chat templates and settings that do not depend on size are those of the real checkpoints; token ids
are not.
"""

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from imagenet_think.inference import checkpoint_specs, families
from imagenet_think.inference.families import Family

CONTEXT = 4096

# The part of a chat template that writes a message; `IMAGE` is replaced by the family's.
_CONTENT = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}IMAGE"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Size of a small model."""

    hidden: int
    layers: int
    vision_hidden: int
    vision_layers: int
    head: int = 32  # of an attention head of both parts; vLLM on CPUs takes none below 32
    # Bounds on what the model sees of an image, where the family has any. By default all square
    # images have 8 x 8 patches, thus 16 tokens; rounding down must not cost them a row of those.
    least_pixels: int = 112**2
    most_pixels: int = 13000
    side: int = 112  # width and height where the family resizes every image to one size

    def text(self, vocabulary: int, padding: int) -> dict[str, Any]:
        """Return the settings of a language model."""
        return {
            "vocab_size": vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": 3 * self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // self.head,
            "num_key_value_heads": max(1, self.hidden // self.head // 2),
            "max_position_embeddings": CONTEXT,
            "pad_token_id": padding,
            "tie_word_embeddings": False,
        }

    def vision(self, layers: str = "depth", heads: str = "num_heads") -> dict[str, Any]:
        """Return the settings of a vision tower; `layers` and `heads` are the names of these."""
        return {
            heads: self.vision_hidden // self.head,
            layers: self.vision_layers,
            "hidden_size": self.vision_hidden,
            "intermediate_size": 2 * self.vision_hidden,
        }

    def rotary_sections(self, share: float) -> list[int]:
        """Return how many frequencies of the rotated share of a head are for time, row, column."""
        frequencies = int(self.head * share) // 2
        time = frequencies // 4
        row = (frequencies - time) // 2
        return [time, row, frequencies - time - row]


TINY = Size(64, 2, 32, 2, head=16, least_pixels=56**2, most_pixels=112**2, side=56)
"""Large enough to try all code."""


def build(
    name: str, folder: Path, size: Size, *, corpus: Sequence[str] = (), seed: int = 0
) -> Path:
    """Write a checkpoint of a family with random weights in float32; return its folder.

    The tokenizer learns from the texts of `corpus`; without them a token is a byte.
    """
    family = families.get(name)
    tokenizer = _tokenizer(family, corpus)
    ids = tokenizer.get_vocab()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    template = family.CHAT_TEMPLATE.replace("CONTENT", _CONTENT.replace("IMAGE", family.IMAGE))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    generation = {
        "eos_token_id": [ids[token] for token in family.END_TOKENS],
        "pad_token_id": tokenizer.pad_token_id,
    }
    files = {"generation_config.json": generation}
    files |= family.small_files(size, len(tokenizer), ids.__getitem__)
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with torch.random.fork_rng():
        model = checkpoint_specs.random_model(name, "cpu", torch.float32, source=folder, seed=seed)
        _spread(model)
    save(family, model, folder, torch.float32)
    return folder


def save(
    family: Family,
    model: transformers.PreTrainedModel,
    folder: Path,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write a model's weights into its checkpoint folder, under the published names."""
    copied: Any = copy.deepcopy(model)
    copied.to("cpu", dtype)
    published = getattr(family, "published_weights", None)
    if published is None:
        for part in (copied.config, copied.config.text_config, copied.config.vision_config):
            part.dtype = dtype
        copied.save_pretrained(folder)
        return
    weights = {name: tensor.contiguous() for name, tensor in sorted(published(copied).items())}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _tokenizer(family: Family, corpus: Sequence[str]) -> transformers.PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer.

    Tokens may span words (up to 24 bytes), and only what occurs in every twentieth text of the
    miniature's corpora becomes one: phrases do, a colour with an object does not. So texts take a
    third of the tokens, and what must be looked up in the image stays separate.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    between_marks = re.compile("|".join(map(re.escape, family.PLAIN_TOKENS)) or "(?!)")
    pieces = [piece for text in corpus for piece in between_marks.split(text) if piece]
    tokenizer.train_from_iterator(
        pieces,
        trainers.BpeTrainer(
            vocab_size=4096,
            min_frequency=60,
            max_token_length=24,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    tokenizer.add_special_tokens(list(family.SPECIAL_TOKENS))  # after the vocabulary, as published
    tokenizer.add_tokens(list(family.PLAIN_TOKENS))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        **family.TOKENIZER,
    )


def _spread(model: transformers.PreTrainedModel) -> None:
    """Draw every matrix by its fan-in: the 0.02 of the classes suits wide models only."""
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name or "pos" in name:
            # Kimi's class draws positions of an image as large as its contents.
            parameter.data *= 0.02 / parameter.data.std().clamp(min=0.02)
        elif parameter.dim() > 1:
            # Experts are stacked matrices.
            inputs = parameter.shape[-1] if "experts" in name else parameter[0].numel()
            torch.nn.init.normal_(parameter, std=inputs**-0.5)
