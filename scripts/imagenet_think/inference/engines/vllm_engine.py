"""Generation with vLLM: a server of the job's own, in an environment of its own.

`vllm serve` listens on 127.0.0.1, at a free port and with a random key that is in no argument. It
ends when the engine is closed, and also when the job dies, in whatever way
(`imagenet_think.inference.engines.supervisor`). vLLM sees what the engine in this process sees: the
family's image settings and chat template, none of the checkpoint's sampling settings, no code of a
repository.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import torch

from imagenet_think.core import model_sources
from imagenet_think.inference import checkpoints, families
from imagenet_think.inference.engines import Setup, executables
from imagenet_think.inference.engines.openai_client import ChatEngine
from imagenet_think.inference.engines.vllm_server import VllmServer
from imagenet_think.inference.loops import CHECK_EVERY

# The prefix stands behind the whole prompt: templates treat a turn of the assistant in ways of
# their own, such as taking thoughts out.
_CONTINUATION = "{{ continuation | default('') }}"

_THREADS_OF_A_FRONT_END = 4

# Files of a checkpoint that belong to the model, not to its processor.
_MODEL_FILES = ("config.json", "generation_config.json")


def check(inference: Mapping[str, Any]) -> None:
    """Check that vLLM's executable exists."""
    _executable(inference)


def load(model: dict, **setup: Unpack[Setup]) -> ChatEngine:
    """Start vLLM with a model, and check with one request that it sees an image.

    As `imagenet_think.inference.engines.EngineModule` describes. Of `inference` it reads `device`,
    `dtype`, `workers` and `engines.vllm`.
    """
    inference, checkpoint, processor = setup["inference"], setup["checkpoint"], setup["processor"]
    encoder, stop_ids = checkpoints.load_processor(model, processor, checkpoint)
    settings = inference["engines"]["vllm"]
    folder = tempfile.TemporaryDirectory(prefix="imagenet-think-vllm-")
    try:
        place = _checkpoint_arguments(model, encoder, checkpoint, processor, settings, folder.name)
        flags = [
            *_image_arguments(model, encoder),
            *_override_arguments(model),
            f"--dtype={_dtype(inference)}",
            "--generation-config=vllm",
            "--trust-request-mm-kwargs",
            *settings["arguments"],
        ]
        command = [
            _executable(inference),
            "serve",
            *place,
            f"--served-model-name={model['key']}",
            *_throughput_arguments(settings, setup["threads"]),
            *flags,
        ]
    except BaseException:
        folder.cleanup()
        raise
    server = VllmServer(command, flags, inference, folder, setup["threads"])
    return ChatEngine(server, encoder, stop_ids, model, setup)


def joined_folder(checkpoint: Path, processor: Path, kind: str, out: Path) -> Path:
    """Return a folder in which vLLM finds a model and the processor that goes with it.

    vLLM reads the image processor of the model's own folder only. Where another one belongs to the
    model, or the folder's settings name a class of image processor that was never released, `out`
    is filled with links to the files of both, and with settings that name the right class: `kind`,
    as transformers calls it.
    """
    name = "preprocessor_config.json"
    settings = checkpoints.read_json(processor, name)
    settings = settings or checkpoints.read_json(processor, "processor_config.json").get(
        "image_processor", {}
    )
    named = str(settings.get("image_processor_type") or settings.get("feature_extractor_type"))
    if processor == checkpoint and named.removesuffix("Fast") == kind:
        return checkpoint
    out.mkdir()
    weights = {path.name for path in checkpoint.glob("*.safetensors*")}
    for source, wanted in (
        (checkpoint, lambda file: file in weights or file in _MODEL_FILES),
        (processor, lambda file: file != name and file not in _MODEL_FILES),
    ):
        for path in sorted(source.iterdir()):
            if path.is_file() and wanted(path.name) and not (out / path.name).exists():
                (out / path.name).symlink_to(path.resolve())
    settings = settings | {"image_processor_type": kind}
    settings.pop("feature_extractor_type", None)
    (out / name).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    return out


def _checkpoint_arguments(
    model: dict,
    encoder: Any,
    checkpoint: tuple[str, str | None],
    processor: tuple[str, str | None],
    settings: dict,
    folder: str,
) -> list[str]:
    """Return what tells vLLM the checkpoint, its processor and its chat template."""
    small = checkpoints.local_folder(*checkpoint)
    processor_folder = checkpoints.local_folder(*processor)
    template = Path(folder) / "chat_template.jinja"
    template.write_text(
        checkpoints.chat_template(processor_folder) + _CONTINUATION, encoding="utf-8"
    )
    common = [f"--chat-template={template}"]
    if "auto_map" in checkpoints.read_json(small, "config.json"):
        # vLLM needs the repository's own processor for it (Kimi-VL).
        if "--trust-remote-code" not in settings["arguments"]:
            raise ValueError(
                f"{checkpoint[0]} brings code of its own (auto_map in its config.json), which vLLM "
                "would run: if you trust it, add --trust-remote-code to engines.vllm.arguments, or "
                "take inference.engine transformers, which runs none"
            )
        if processor != checkpoint:
            raise ValueError(
                f"{checkpoint[0]} brings code of its own: vLLM cannot be given the processor of "
                f"{processor[0]} with it; take inference.engine transformers"
            )
        name, revision = checkpoint
        revisions = ("revision", "code-revision", "tokenizer-revision")
        pins = [f"--{kind}={revision}" for kind in revisions if model_sources.is_hub(name)]
        return [name, *pins, *common]
    kind = type(encoder.image_processor).__name__.removesuffix("Pil")
    whole = checkpoints.local_folder(*checkpoint, weights=True)
    joined = joined_folder(whole, processor_folder, kind, Path(folder) / "checkpoint")
    return [str(joined.absolute()), *common]


def _override_arguments(model: dict) -> list[str]:
    """Return what vLLM has to read differently in the checkpoint's config."""
    overrides = getattr(families.get(model["family"]), "VLLM_OVERRIDES", None)
    return [f"--hf-overrides={json.dumps(overrides)}"] if overrides else []


def _image_arguments(model: dict, encoder: Any) -> list[str]:
    """Return what tells vLLM how many images there are, and the image settings in force."""
    settings = getattr(encoder, "images_kwargs", None)
    if settings is None and getattr(encoder.image_processor, "size", None):
        settings = {"size": dict(encoder.image_processor.size)}
    if settings is None and model.get("image"):
        raise ValueError(
            f"{model['key']}: image settings {sorted(model['image'])} cannot be given to vLLM for "
            f"family {model['family']}; take inference.engine transformers"
        )
    images = 2 if model.get("second_round") else 1
    # No memory is held for videos, where the family has any.
    video = {"video": 0} if settings is not None else {}
    return [
        f"--limit-mm-per-prompt={json.dumps({'image': images} | video)}",
        *([f"--mm-processor-kwargs={json.dumps(settings)}"] if settings else []),
    ]


def _throughput_arguments(settings: Mapping[str, Any], threads: int) -> list[str]:
    """Return what makes the most of the machine; docs/engines.md explains each."""
    gpus = settings["gpus"]
    return [
        f"--max-num-seqs={settings['batch_size']}",  # of each GPU
        *([f"--data-parallel-size={gpus}"] if gpus > 1 else []),
        # A front end decodes and preprocesses images, and writes answers: one alone can hold back a
        # GPU. The engine itself and this process need cores of the job too.
        f"--api-server-count={max(gpus, threads // _THREADS_OF_A_FRONT_END)}",
        # Each image is sent once; copies of it in every process would never be read.
        "--mm-processor-cache-gb=0",
        # Second rounds, forced answers and further attempts go on from a prompt that was just read,
        # and all prompts of a model begin with its system message.
        "--enable-prefix-caching",
        f"--stream-interval={CHECK_EVERY}",
        "--disable-uvicorn-access-log",
    ]


def _dtype(inference: Mapping[str, Any]) -> str:
    """Return the dtype: `auto` is bfloat16 where there is an NVIDIA device, else float32.

    The main environment's torch may be one for CPUs where vLLM's is not.
    """
    if inference["dtype"] != "auto":
        return inference["dtype"]
    gpu = torch.cuda.is_available() or Path("/dev/nvidiactl").exists()
    return "bfloat16" if gpu and inference["device"] != "cpu" else "float32"


def _executable(inference: Mapping[str, Any]) -> str:
    command = inference["engines"]["vllm"]["command"]
    if path := executables.found(command):
        return path
    raise ValueError(executables.missing(command))
