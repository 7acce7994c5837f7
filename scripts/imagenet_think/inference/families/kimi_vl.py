"""Kimi-VL-A3B-Thinking in its published layout, in transformers' own Kimi-K2.5 class.

transformers has no `kimi_vl`: the published code is remote. The architecture is that of Kimi-K2.5
with an image-only vision tower, so a translated config and three renamed projector weights load it
natively. Tried on miniature checkpoints in the published layout; the published weights were not run
here.
"""

import ast
import math
from pathlib import Path

import numpy as np
import torch
from transformers import (
    DeepseekV3Config,
    Kimi_K25Config,
    Kimi_K25ForConditionalGeneration,
    Kimi_K25Processor,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

from imagenet_think.inference.families import checkpoints, latent_attention

END_TOKENS = ("<|im_end|>", "[EOS]")

# Names of the checkpoint that transformers' conversion for Kimi-K2.5 does not know.
_RENAMED = {
    r"multi_modal_projector\.pre_norm": "model.mm_projector.pre_norm",
    r"multi_modal_projector\.linear_1": "model.mm_projector.in_proj",
    r"multi_modal_projector\.linear_2": "model.mm_projector.out_proj",
}
_VISION = {
    "patch_size": "patch_size",
    "init_pos_emb_height": "pos_emb_height",
    "init_pos_emb_width": "pos_emb_width",
    "num_attention_heads": "num_attention_heads",
    "num_hidden_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "merge_kernel_size": "merge_kernel_size",
}
_LARGEST_SIDE = 512  # patches; the published code refuses more


class ImageKwargs(ImagesKwargs, total=False):
    """Settings of `ImagePreprocessing` beyond the usual ones."""

    patch_size: int
    merge_size: int
    in_token_limit: int


class ImagePreprocessing(PilBackend):
    """MoonViT's preprocessing: shrink to `in_token_limit` patches, pad to whole 2 x 2 patches.

    Follows the published image processor of Kimi-VL: an image of more patches is scaled by the
    square root of limit over patches (bicubic), padding stands at the right and bottom, before
    normalisation.
    """

    do_resize = do_rescale = do_normalize = do_convert_rgb = True
    resample, rescale_factor = PILImageResampling.BICUBIC, 1 / 255
    image_mean = image_std = (0.5, 0.5, 0.5)
    patch_size, merge_size, in_token_limit = 14, 2, 4096
    valid_kwargs = ImageKwargs
    model_input_names = ("pixel_values", "image_grid_thw")

    def _validate_preprocess_kwargs(self, **kwargs) -> None:
        # The base class asks for a target size, and there is none: the limit is a number of
        # patches.
        super()._validate_preprocess_kwargs(**{**kwargs, "do_resize": False})

    def _preprocess(
        self,
        images: list[np.ndarray],
        resample,
        rescale_factor: float,
        image_mean: list[float],
        image_std: list[float],
        patch_size: int,
        merge_size: int,
        in_token_limit: int,
        return_tensors=None,
        **kwargs,
    ) -> BatchFeature:
        """Return the patches (patches, 3, 14, 14) of all images, and their grids (images, 3)."""
        block = patch_size * merge_size
        patches, grids = [], []
        for image in images:
            height, width = image.shape[-2:]
            count = (height // patch_size) * (width // patch_size)
            if count > in_token_limit:
                scale = math.sqrt(in_token_limit / count)
                size = SizeDict(height=int(height * scale), width=int(width * scale))
                image = self.resize(image, size, resample=resample)
                height, width = image.shape[-2:]
            image = np.pad(image, ((0, 0), (0, -height % block), (0, -width % block)))
            rows, columns = image.shape[-2] // patch_size, image.shape[-1] // patch_size
            if max(rows, columns) >= _LARGEST_SIDE:
                raise ValueError(f"image of {rows} x {columns} patches; a side must stay below 512")
            image = self.normalize(self.rescale(image, rescale_factor), image_mean, image_std)
            cells = image.reshape(3, rows, patch_size, columns, patch_size).transpose(1, 3, 0, 2, 4)
            patches.append(cells.reshape(-1, 3, patch_size, patch_size).astype(np.float32))
            grids.append([1, rows, columns])
        data = {"pixel_values": np.concatenate(patches), "image_grid_thw": np.array(grids)}
        return BatchFeature(data, tensor_type=return_tensors)


class Processor(Kimi_K25Processor):
    """The processor without its video part (which needs torchvision)."""

    # The signature tells transformers which parts a processor has.
    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **kwargs)


def load_processor(
    path: str | Path, image_settings: dict | None = None, *, revision: str | None = None
) -> Processor:
    """Return the image-and-text processor of a checkpoint.

    Parameters
    ----------
    path
        Folder or hub id.
    image_settings
        `in_token_limit` (patches of one image, before 2 x 2 of them are merged) overrides the
        checkpoint's.
    revision
        Commit of a hub repository.
    """
    folder = checkpoints.local_folder(path, revision)
    settings = checkpoints.known_settings("kimi_vl", image_settings or {}, ("in_token_limit",))
    published = checkpoints.read_json(folder, "preprocessor_config.json")
    names = ("in_token_limit", "image_mean", "image_std", "patch_size")
    return Processor(
        ImagePreprocessing(
            **{name: published[name] for name in names if name in published} | settings
        ),
        load_tokenizer(folder),
        chat_template=checkpoints.chat_template(folder),
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer: of `tokenizer.json`, or of the published tiktoken vocabulary.

    Raises
    ------
    ValueError
        If the tiktoken vocabulary comes without the file that holds its pattern.
    """
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    config = checkpoints.read_json(folder, "tokenizer_config.json")
    size = checkpoints.read_json(folder, "config.json")["text_config"]["vocab_size"]
    converter = TikTokenConverter(str(folder / "tiktoken.model"), pattern=split_pattern(folder))
    ranks = converter.load_tiktoken_bpe(converter.vocab_file)
    named = {int(key): value["content"] for key, value in config["added_tokens_decoder"].items()}
    # As the published tokenizer does: every id after the vocabulary is special, named or not.
    converter.extra_special_tokens = [
        named.get(i, f"<|reserved_token_{i}|>") for i in range(len(ranks), size)
    ]
    return PreTrainedTokenizerFast(
        tokenizer_object=converter.converted(),
        bos_token=config.get("bos_token", "[BOS]"),
        eos_token=config.get("eos_token", "[EOS]"),
        pad_token=config.get("pad_token", "[PAD]"),
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype,
    attention: str,
    device: str,
    revision: str | None = None,
) -> Kimi_K25ForConditionalGeneration:
    """Return the model of a checkpoint, on `device` and in evaluation mode.

    Raises
    ------
    ValueError
        If the config holds what the native class cannot express, or a weight is missing or left
        over.
    """
    folder = checkpoints.local_folder(path, revision, weights=True)
    model = checkpoints.load_weights(
        Kimi_K25ForConditionalGeneration,
        folder,
        config=translated_config(folder),
        dtype=dtype,
        attention=attention,
        device=device,
        key_mapping=_RENAMED,
    )
    return latent_attention.absorb(model)


def translated_config(folder: Path) -> Kimi_K25Config:
    """Return the published config in the native class's words.

    Raises
    ------
    ValueError
        If it scales its rotary embedding (the published one does not).
    """
    published = checkpoints.read_json(folder, "config.json")
    text, vision = dict(published["text_config"]), published["vision_config"]
    theta, scaling = text.pop("rope_theta"), text.pop("rope_scaling", None)
    if scaling is not None:
        raise ValueError(f"{folder}: rope_scaling {scaling} is not known for Kimi-VL")
    known = set(DeepseekV3Config().to_dict()) - {
        "model_type",
        "architectures",
        "transformers_version",
    }
    text = {key: value for key, value in text.items() if key in known}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": float(theta)}
    return Kimi_K25Config(
        text_config={"model_type": "deepseek_v3", **text},
        vision_config={ours: vision[theirs] for theirs, ours in _VISION.items()},
        projection_hidden_size=vision["hidden_size"],
        image_token_id=published["media_placeholder_token_id"],
        tie_word_embeddings=False,
    )


def split_pattern(folder: Path) -> str:
    """Return the pattern that splits text before byte-pair encoding: the tokenizer's `pat_str`.

    The checkpoint's tokenizer file is parsed, not run. The pattern is a string, or strings joined
    by one: `"|".join([...])`.

    Raises
    ------
    ValueError
        If there is not one such file, or not one such value in it.
    """
    files = sorted(folder.glob("tokenization_*.py"))
    if len(files) != 1:
        raise ValueError(f"{folder}: {len(files)} files tokenization_*.py, where one gives pat_str")
    tree = ast.parse(files[0].read_text(encoding="utf-8"))
    statements = [n for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for n in c.body]
    values = [
        node.value
        for node in statements
        if isinstance(node, ast.Assign)
        and [getattr(target, "id", None) for target in node.targets] == ["pat_str"]
    ]
    try:
        (value,) = values
        if isinstance(value, ast.Call) and getattr(value.func, "attr", None) == "join":
            return ast.literal_eval(value.func.value).join(ast.literal_eval(value.args[0]))
        return ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{files[0]}: no pat_str that can be read without running it") from error
