"""Benchmark of generation on the CPU: four ways to answer the same requests.

Run as `python tests/benchmarks/inference.py [--vllm PATH/TO/vllm]`. A trained miniature describes
patches of colour. What it says does not matter, since the length of each response is forced: drawn
log-normally (median 300, sigma 1 on the log scale, cut at 2,000), as thoughts are. At most 32
requests share a batch. Row use is the share of the batch's rows, over all steps, that were in use.

- one by one: transformers' `generate`, one request after another (of a sample of the requests)
- static batches: transformers' `generate` on 32 requests at once, until the last of them ends (of
  all requests, or with `--static` of a sample)
- in flight: the pipeline's engine
- vLLM: `vllm serve` through the pipeline's vLLM engine, where its executable is named

Seconds are wall time, since vLLM works in processes of its own. Each way has one thread; vLLM's
server and its client share the machine's cores.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parents[1] / "gpu"))

import numpy as np
import torch
import transformers
import yaml
from synthetic import NO_TOKEN, ROOT, SIGMA, conversations, forced_requests

from imagenet_think.inference import families
from imagenet_think.inference.chat import encode
from imagenet_think.inference.engines import Request
from imagenet_think.inference.engines.transformers_engine import TransformersEngine, collate
from imagenet_think.run import configuration

CONFIG = ROOT / "config" / "miniature.yaml"
STATIC = "static batches"
MODEL = "r1-onevision"
MINIATURE = ROOT / "resources" / "miniatures" / MODEL
FAMILY = "qwen2_5_vl"
IMAGE = {"min_pixels": 12544, "max_pixels": 13000}
MEDIAN, LONGEST = 300, 2000
ROWS = 32


class Measured(NamedTuple):
    """Tokens generated, the seconds that they took, and the share of rows that were in use."""

    tokens: int
    seconds: float
    row_use: float | None


def static_batches(model, processor, requests: list[Request], rows: int = ROWS) -> Measured:
    """transformers' own `generate`, on left-padded batches; each waits for its longest row."""
    start, steps = time.perf_counter(), 0
    padding = model.generation_config.pad_token_id
    for first in range(0, len(requests), rows):
        batch = requests[first : first + rows]
        longest = max(request.max_new_tokens for request in batch)
        inputs = collate([encode(processor, request.messages) for request in batch], padding)
        model.generate(
            **inputs, max_new_tokens=longest, do_sample=False, eos_token_id=NO_TOKEN, pad_token_id=0
        )
        steps += longest
    tokens = sum(request.max_new_tokens for request in requests)
    return Measured(tokens, time.perf_counter() - start, tokens / (steps * rows))


def in_flight(model, processor, requests: list[Request]) -> Measured:
    """The pipeline's engine."""
    engine = TransformersEngine(
        model, processor, decoding={}, loop=None, stop_ids=[], batch_size=ROWS
    )
    start = time.perf_counter()
    tokens = sum(response.completion_tokens for response in engine.generate(requests))
    used = engine.statistics
    return Measured(tokens, time.perf_counter() - start, used["row_steps"] / used["places"])


def with_vllm(command: str, requests: list[Request]) -> Measured:
    """The pipeline's vLLM engine, without the start of the server."""
    import asking

    from imagenet_think.inference.engines import openai_client, vllm_engine

    class Unstoppable(openai_client.ChatEngine):
        """Ends a response at its length alone."""

        def _body(self, *arguments) -> dict:
            return super()._body(*arguments) | {"stop_token_ids": [], "ignore_eos": True}

    vllm_engine.ChatEngine = Unstoppable
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "2"  # GiB; it would take what the machine has
    config = configuration.check(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))
    config["engines"]["vllm"] |= {"command": command, "batch_size": ROWS}
    inference = config["inference"] | {"engines": config["engines"]}
    model = config["models"][MODEL] | {"key": MODEL}
    with closing(asking.load(vllm_engine, MINIATURE, inference, model, loop=None)) as engine:
        list(engine.generate(requests[:2]))  # the first request compiles
        start = time.perf_counter()
        tokens = sum(response.completion_tokens for response in engine.generate(requests))
        return Measured(tokens, time.perf_counter() - start, None)


def drawn_lengths(count: int) -> np.ndarray:
    """Return lengths (count,) of responses."""
    draws = np.random.default_rng(0).standard_normal(count)
    return (MEDIAN * np.exp(SIGMA * draws)).clip(1, LONGEST).round().astype(int)


def main(count: int, sample: int, static_sample: int, vllm: str | None) -> None:
    """Measure each way on the same requests and print a line for each."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    family = families.get(FAMILY)
    processor = family.load_processor(MINIATURE, IMAGE)
    model = family.load_model(
        MINIATURE, dtype=torch.float32, attention="sdpa", device="cpu", revision=None
    )
    messages = conversations(64, (112, 112), "Describe this image.")
    requests = forced_requests(drawn_lengths(count), messages)
    static_requests = requests[:static_sample]
    ways: dict[str, Callable[[], Measured]] = {
        f"one by one ({sample} of them)": lambda: static_batches(
            model, processor, requests[:sample], rows=1
        ),
        STATIC: lambda: static_batches(model, processor, static_requests),
        "in flight": lambda: in_flight(model, processor, requests),
    }
    if vllm:
        ways["vLLM"] = lambda: with_vllm(vllm, requests)
    tokens = sum(request.max_new_tokens for request in requests)
    mean = tokens / count
    print(f"{count} requests of {mean:.0f} tokens on average, {ROWS} at once, one thread")
    print(f"static batches: the first {len(static_requests)} of them\n")
    print(f"{'':24}  tokens/s  of static  row use  seconds")
    static = None
    for name, measure in ways.items():
        found = measure()
        speed = found.tokens / found.seconds
        static = speed if name == STATIC else static
        ratio = f"{speed / static:8.2f}x" if static else " " * 9
        use = f"{found.row_use:7.2f}" if found.row_use is not None else "       "
        print(f"{name:24}  {speed:8.0f}  {ratio}  {use}  {found.seconds:7.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1024)
    parser.add_argument("--sample", type=int, default=16, help="requests answered one by one")
    parser.add_argument("--static", type=int, help="requests answered in static batches")
    parser.add_argument("--vllm", help="vLLM's executable; without it vLLM is not measured")
    arguments = parser.parse_args()
    main(
        arguments.requests,
        arguments.sample,
        arguments.static or arguments.requests,
        arguments.vllm,
    )
