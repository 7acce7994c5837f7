"""Reading a checkpoint: its folder, settings, image processor, weights and end tokens."""

import itertools
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.modeling_utils import LoadStateDictConfig, load_state_dict

from imagenet_think.inference import chat, families
from imagenet_think.inference.families import Family

# Settings, vocabularies, templates, and the one file of code that is read (never run): Kimi's
# tokenizer.
_SMALL = ["*.json", "*.jinja", "*.txt", "*.model", "tokenization_*.py"]
_WEIGHTS = ["*.safetensors"]

SHAPES = "weights.tsv"
"""File with names and shapes of weights, for a checkpoint without their values."""

# Derived from the config, so a checkpoint may hold them or not.
_DERIVED = ("rotary_emb.inv_freq",)


class WithoutVideo(transformers.ProcessorMixin):
    """A processor without its video part, which needs torchvision."""

    # The signature tells transformers which parts a processor has.
    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **kwargs)


def local_folder(path: str | Path, revision: str | None, *, weights: bool = False) -> Path:
    """Return the folder of a checkpoint; a hub repository is first fetched into the hub's cache.

    A hub id without a revision is a `ValueError`. Only a model needs `weights`, not a processor.
    """
    if Path(path).is_dir():
        return Path(path)
    if revision is None:
        raise ValueError(f"{path} is not a folder, and a hub repository needs a revision")
    patterns = _SMALL + (_WEIGHTS if weights else [])
    return Path(snapshot_download(str(path), revision=revision, allow_patterns=patterns))


def read_json(folder: Path, name: str) -> dict:
    """Return the object in a JSON file of the checkpoint, or an empty dict where it has none.

    Anything else in it is a `ValueError` that names the file.
    """
    path = folder / name
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not JSON ({error}): download it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} does not contain a JSON object: download it again")
    return found


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold, or would hold, the checkpoint's weights."""
    index = read_json(folder, "model.safetensors.index.json")
    names = sorted(set(index["weight_map"].values())) if index else ["model.safetensors"]
    return [folder / name for name in names]


def published_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of weights in `weights.tsv`; none without that file.

    It has one line per pattern; `{0..39}` stands for each number from 0 to 39.
    """
    if not (folder / SHAPES).exists():
        return {}
    lines = (folder / SHAPES).read_text(encoding="utf-8").splitlines()[1:]
    shapes = {}
    for pattern, shape in (line.split("\t") for line in lines):
        pieces = re.split(r"\{(\d+)\.\.(\d+)\}", pattern)
        ranges = [
            range(int(a), int(b) + 1) for a, b in zip(pieces[1::3], pieces[2::3], strict=True)
        ]
        for numbers in itertools.product(*ranges):
            name = pieces[0] + "".join(
                f"{number}{after}" for number, after in zip(numbers, pieces[3::3], strict=True)
            )
            shapes[name] = tuple(map(int, shape.split("x")))
    return shapes


def chat_template(folder: Path) -> str:
    """Return the chat template, from whichever file has it.

    None, or several with names, is a `ValueError`.
    """
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = read_json(folder, name).get("chat_template")
        if template and not isinstance(template, str):
            raise ValueError(
                f"{folder / name} has several chat templates{_names(template)}: in a copy of the "
                "processor's files, write the one to use to chat_template.jinja, and name the copy "
                "as repository of the model's `processor`"
            )
        if template:
            return template
    raise ValueError(f"{folder} has no chat template (chat_template.jinja or a JSON file with one)")


def _names(templates: Any) -> str:
    """Return the names of templates, a list of objects or an object, in brackets."""
    with suppress(AttributeError, KeyError, TypeError):
        named = templates if isinstance(templates, dict) else [each["name"] for each in templates]
        return f" ({', '.join(map(str, named))})"
    return ""


def known_settings(family: str, settings: dict | None, known: tuple[str, ...]) -> dict:
    """Return the image settings that are not null; one that is not known is a `ValueError`."""
    settings = settings or {}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"family {family} has no image setting {unknown}; known are {list(known)}")
    return {key: value for key, value in settings.items() if value is not None}


def image_processor(cls: type, folder: Path, types: tuple[str, ...], **settings: Any) -> Any:
    """Return image processor `cls` with the checkpoint's preprocessing, overridden by `settings`.

    The family chooses the class, because some checkpoints name one that no longer exists. A name
    that is not one of `types` (with or without "Fast") is a `ValueError`.
    """
    config = read_json(folder, "preprocessor_config.json")
    config = config or read_json(folder, "processor_config.json").get("image_processor", {})
    kind = str(
        config.get("image_processor_type") or config.get("feature_extractor_type")
    ).removesuffix("Fast")
    if kind not in types:
        raise ValueError(f"{folder}: image processor {kind!r} is not one of {list(types)}")
    named = ("image_processor_type", "feature_extractor_type", "processor_class", "auto_map")
    return cls(**{key: value for key, value in config.items() if key not in named} | settings)


def load_weights(
    cls: type[transformers.PreTrainedModel],
    read_config: Callable[[Path], transformers.PreTrainedConfig],
    path: str | Path,
    *,
    dtype: torch.dtype,
    attention: str,
    device: str,
    revision: str | None = None,
    key_mapping: dict[str, str] | None = None,
) -> transformers.PreTrainedModel:
    """Load a checkpoint into `cls` and check that every weight found its place.

    Of the checkpoint's generation settings only the end and padding tokens are kept: `generate`
    would silently add its sampling settings to those of the run's config.

    Parameters
    ----------
    cls
        The transformers class.
    read_config
        Returns the config of a folder, corrected by the family where necessary.
    path, dtype, attention, device, revision
        As in `Family.load_model`.
    key_mapping
        Patterns of names in the checkpoint that transformers does not know, and their names in
        `cls`.

    Raises
    ------
    ValueError
        If weights are missing, left over or of another shape, or if no end token is known.
    """
    folder = local_folder(path, revision, weights=True)
    config = read_config(folder)
    load: Callable[..., Any] = cls.from_pretrained
    if device == "meta":
        load = partial(_without_values, cls)
    model, report = load(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation=attention,
        output_loading_info=True,
        key_mapping=key_mapping,
    )
    left_over = [key for key in report["unexpected_keys"] if not key.endswith(_DERIVED)]
    problems = {
        "missing": sorted(report["missing_keys"]),
        "unexpected": sorted(left_over),
        "of another shape": sorted(map(str, report["mismatched_keys"])),
    }
    if any(problems.values()):
        details = "; ".join(f"{len(v)} {k}: {', '.join(v[:5])}" for k, v in problems.items() if v)
        raise ValueError(f"{folder} does not fit {cls.__name__}: {details}")
    model.generation_config = _generation_config(folder, config)
    return model.to(device).eval()


def load_processor(
    model: Mapping[str, Any],
    processor: tuple[str, str | None],
    checkpoint: tuple[str, str | None],
) -> tuple[Any, list[int]]:
    """Return the processor of a model of the config, and the tokens at which a response ends.

    `processor` and `checkpoint` are a folder or hub id, and a revision. A chat template that cannot
    show the model an image is a `ValueError`.
    """
    family = families.get(model["family"])
    path, revision = processor
    loaded = family.load_processor(path, model.get("image"), revision=revision)
    chat.require_images(loaded, model)
    return loaded, stop_ids(family, loaded, local_folder(*checkpoint))


def end_tokens(folder: Path) -> list[int]:
    """Return the end tokens of a checkpoint's generation settings or config, or raise."""
    config = read_json(folder, "config.json")
    generation = read_json(folder, "generation_config.json")
    places = (generation, config.get("text_config") or {}, config)
    ends = next((place["eos_token_id"] for place in places if place.get("eos_token_id")), None)
    if ends is None:
        raise ValueError(f"{folder}: no end token in generation_config.json or config.json")
    return [ends] if isinstance(ends, int) else list(ends)


def vocabulary_size(
    vocabulary: Mapping[str, int], checkpoint: tuple[str | Path, str | None]
) -> int:
    """Return one more than the greatest token that a model may generate.

    There are more than in the tokenizer's `vocabulary` where the model's size is rounded up.
    """
    config = read_json(local_folder(*checkpoint), "config.json")
    sizes = [(config.get("text_config") or {}).get("vocab_size"), config.get("vocab_size")]
    return max([max(vocabulary.values()) + 1, *(size for size in sizes if size)])


def stop_ids(family: Family, processor: Any, folder: str | Path) -> list[int]:
    """Return the tokens at which a response ends, in ascending order.

    Published generation settings sometimes lack some, so the family's `END_TOKENS` are added.
    """
    vocabulary = processor.tokenizer.get_vocab()
    named = {vocabulary[token] for token in family.END_TOKENS if token in vocabulary}
    return sorted(named | set(end_tokens(Path(folder))))


def _without_values(
    cls: type[transformers.PreTrainedModel],
    folder: Path,
    *,
    config: transformers.PreTrainedConfig,
    dtype: torch.dtype,
    key_mapping: dict[str, str] | None,
    output_loading_info: bool,
    **options: Any,
) -> tuple[transformers.PreTrainedModel, dict]:
    """Do what `from_pretrained` does for `device_map="meta"`, without accelerate and weights."""
    with torch.device("meta"):
        model = cls._from_config(config, dtype=dtype, **options)
    state = {
        name: torch.empty(shape, dtype=dtype, device="meta")
        for name, shape in published_shapes(folder).items()
    }
    for path in filter(Path.exists, weight_files(folder)):
        state |= load_state_dict(path, map_location="meta")
    if not state:
        return model, dict.fromkeys(("missing_keys", "unexpected_keys", "mismatched_keys"), ())
    mapping: Any = get_model_conversion_mapping(model, key_mapping)
    load = LoadStateDictConfig(
        pretrained_model_name_or_path=str(folder),
        ignore_mismatched_sizes=True,  # they are reported, and refused by the caller
        device_map={"": torch.device("meta")},
        dtype=dtype,
        dtype_plan=model._get_dtype_plan(dtype),
        weight_mapping=mapping,
    )
    report, _ = cls._load_pretrained_model(model, state, None, load)
    return model, cls._finalize_model_loading(model, load, report).to_dict()


def _generation_config(
    folder: Path, config: transformers.PreTrainedConfig
) -> transformers.GenerationConfig:
    ends = end_tokens(folder)
    default = config.get_text_config().pad_token_id
    padding = read_json(folder, "generation_config.json").get("pad_token_id", default)
    return transformers.GenerationConfig(
        eos_token_id=ends, pad_token_id=ends[0] if padding is None else padding
    )
