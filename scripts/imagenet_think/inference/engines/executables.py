"""vLLM's executable: where it is, and what to do where it is missing."""

import os
import shutil


def found(command: str) -> str | None:
    """Return the absolute path of a command, which is a name or a path; None if it is missing."""
    path = shutil.which(os.path.expanduser(command))
    return path and os.path.abspath(path)


def missing(command: str) -> str:
    """Return that vLLM is missing, and what to do."""
    return (
        f"engines.vllm.command is {command!r}, and there is no such executable: run `make vllm`, "
        "which installs vLLM for NVIDIA GPUs into an environment of its own, .venv-vllm-gpu, and "
        "set engines.vllm.command to .venv-vllm-gpu/bin/vllm; or set inference.engine (and "
        "models.<name>.engine, if it says vllm) to transformers, which needs no vLLM"
    )
