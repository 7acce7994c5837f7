"""Families of vision-language models: one module per family, which declares all about it.

Everything is read from a local folder or from a snapshot of a hub repository; no code of the
repository is run, and neither torchvision nor a video processor is needed. A module has the members
of `Family`, and where the family needs them:

`VLLM_OVERRIDES`
    What vLLM must be told beyond the checkpoint's config.
`published_weights(model)`
    The weights under their published names, if `save_pretrained` does not write those.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from imagenet_think.core import plugins

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from imagenet_think.inference.small_models import Size

NAMES = plugins.names("inference.families")


class Family(Protocol):
    """What every module of this package has.

    Attributes
    ----------
    END_TOKENS
        Tokens that end a response, besides those of the checkpoint's generation settings.
    SPECIAL_TOKENS, PLAIN_TOKENS
        Added tokens of the family's tokenizers, those that decoding can skip and the others.
    TOKENIZER
        Arguments of a fast tokenizer that name its end and padding tokens.
    CHAT_TEMPLATE
        A chat template of the family, with `CONTENT` for a message's text and images.
    IMAGE
        What the template writes for an image.
    """

    END_TOKENS: tuple[str, ...]
    SPECIAL_TOKENS: tuple[str, ...]
    PLAIN_TOKENS: tuple[str, ...]
    TOKENIZER: dict[str, Any]
    CHAT_TEMPLATE: str
    IMAGE: str

    def load_processor(
        self, path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
    ) -> Any:
        """Return the processor of a checkpoint (folder or hub id) for images and text.

        Image settings that are not null override the checkpoint's. A setting that the family does
        not know, or preprocessing of another class, is a `ValueError`.
        """

    def load_model(
        self,
        path: str | Path,
        *,
        dtype: "torch.dtype",
        attention: str,
        device: str,
        revision: str | None = None,
    ) -> "PreTrainedModel":
        """Return the model of a checkpoint (folder or hub id) in evaluation mode.

        `attention` is transformers' `attn_implementation`. On the device "meta" no value is read:
        the names and shapes of the weights in the folder are checked, or those in its
        `weights.tsv`. A config that is not the family's, or a weight that is missing, left over or
        of another shape, is a `ValueError`.
        """

    def small_files(
        self, size: "Size", vocabulary: int, token: Callable[[str], int]
    ) -> dict[str, dict[str, Any]]:
        """Return the JSON files of a small checkpoint by name, in the published layout.

        `vocabulary` is the number of tokens, and `token` returns the id of one.
        """


def get(name: str) -> Family:
    """Return the module of a family; an unknown name is a `ValueError`."""
    return cast(Family, plugins.get("inference.families", name))
