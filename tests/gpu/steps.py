"""The steps of the GPU session: what has to be known of the engine on a real device.

Run as `python tests/gpu/steps.py STEP --out FOLDER`; `session.py` runs all of them. A step writes
what it finds to `FOLDER/STEP.json` after every case, so that its results are kept if it is ended.
Models have the published architectures and random weights; nothing is downloaded. `--tiny` runs the
same code with small shapes, also on the CPU.
"""

import argparse
import functools
import itertools
import json
import math
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import synthetic
import torch
import yaml
from session import MODELS
from synthetic import CONFIG, ROOT, drawn_lengths, drawn_picture, synchronize
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

from imagenet_think.inference import checkpoint_specs, families, latent_attention
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import EngineError, Request, kv_cache, versions
from imagenet_think.inference.engines.hardware import Hardware, choose_hardware
from imagenet_think.inference.engines.kv_cache import (
    BLOCK,
    KVCache,
    _segments,
    attend,
    flash_kernel,
)
from imagenet_think.inference.engines.model_runner import ModelRunner
from imagenet_think.inference.engines.transformers_engine import TransformersEngine, _moved, collate
from imagenet_think.inference.token_sampler import TokenSampler

REPORTED = yaml.safe_load((ROOT / "resources" / "reported.yaml").read_text(encoding="utf-8"))
PAPER = next(row for row in REPORTED["table1"] if row["dataset"] == "ImageNet-Think")
MEAN = PAPER["mean"] / len(CONFIG["teachers"])  # tokens per response; the paper's are per sample
RESPONSES = len(CONFIG["teachers"]) * PAPER["images"]
LONGEST = 8192
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "triton", "flash-attn", "vllm")
NEEDED_GIB = 75  # of the device, for models of full size with 256 rows
SAMPLED = {"temperature": 0.8, "top_p": 0.95, "repetition_penalty": 1.1}
HEADS = ((32, 2), (28, 4), (32, 8), (16, 16))  # query heads and key heads of the real models
FLOAT32_ERROR, BFLOAT16_ERROR = 1e-3, 0.05  # relative, of scores over the whole vocabulary
KERNEL_ERROR = 0.02  # relative, of bfloat16 attention against float64


@dataclass(frozen=True)
class Setting:
    """What a step is run with; `seconds` is the time that measurements of throughput take."""

    out: Path
    tiny: bool
    seconds: float
    hardware: Hardware

    @property
    def device(self) -> str:
        """`cuda` or `cpu`."""
        return self.hardware.device

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device == "cuda"

    @property
    def half(self) -> torch.dtype:
        """The dtype of models whose numbers need not be exact."""
        return torch.bfloat16 if self.cuda else torch.float32

    @property
    def rows(self) -> int:
        """Rows of measurements."""
        return 8 if self.tiny else 256

    @property
    def lengths(self) -> tuple[float, int]:
        """Mean and greatest number of tokens per response."""
        return (12.0, 48) if self.tiny else (MEAN, LONGEST)


class Record:
    """What a step found, in a JSON file that is written again after every entry."""

    def __init__(self, path: Path, step: str):
        self.path, self.start = path, time.perf_counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.content = {
            "step": step,
            "finished": False,
            "checks": [],
            "measured": {},
            "estimated": {},
            "lacking": [],
        }
        self._save()

    def check(self, name: str, passed: bool, **values) -> None:
        """Note whether something is as it should be."""
        self.content["checks"].append({"name": name, "passed": bool(passed), **values})
        print(f"{'passed' if passed else 'FAILED'}: {name} {values or ''}", flush=True)
        self._save()

    def measure(self, name: str, value) -> None:
        """Note something that is neither right nor wrong."""
        self.content["measured"][name] = value
        print(f"{name}: {value}", flush=True)
        self._save()

    def estimate(self, name: str, value) -> None:
        """Note something that was computed and not measured."""
        self.content["estimated"][name] = value
        print(f"{name}, estimated: {value}", flush=True)
        self._save()

    def lack(self, what: str) -> None:
        """Note what is missing here, and what was therefore not tried."""
        if what not in self.content["lacking"]:
            self.content["lacking"].append(what)
            print(f"lacking: {what}", flush=True)
            self._save()

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """Turn an exception into a failed check, so that the next case is tried."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.check(name, False, error=f"{type(error).__name__}: {error}"[:500])

    def finish(self) -> None:
        """Note that the step came to its end."""
        self.content["finished"] = True
        self._save()

    def _save(self) -> None:
        self.content["seconds"] = round(time.perf_counter() - self.start, 1)
        temporary = self.path.with_suffix(".tmp")  # the step may be killed at any time
        temporary.write_text(
            json.dumps(self.content, indent=1, default=str) + "\n", encoding="utf-8"
        )
        temporary.replace(self.path)


def environment(setting: Setting, record: Record) -> None:
    """Versions, and what this machine lacks of what the engine can use."""
    installed = versions(*PACKAGES)
    for name, number in installed.items():
        record.measure(name, number)
    record.measure("attention", setting.hardware.attention)
    if "flash-attn" not in installed:
        record.lack("flash-attn is not installed: prompts and image towers use sdpa")
    if "vllm" not in installed and not (ROOT / ".venv-vllm/bin/vllm").exists():
        record.lack("vLLM is not installed, so its speed cannot be compared on this machine")
    if not setting.cuda:
        record.lack("no CUDA device: kernels and memory limits of a GPU are not tested")
        return
    record.measure("cuda", torch.version.cuda)
    record.measure("device", torch.cuda.get_device_name())
    record.measure("capability", torch.cuda.get_device_capability())
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
    record.measure("memory_gib", {"free": round(free, 1), "total": round(total, 1)})
    if free < NEEDED_GIB:
        record.lack(f"{free:.0f} GiB of the device are free; full sizes need {NEEDED_GIB}")
    with record.case("nvidia-smi"):
        found = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=True)
        print(found.stdout)


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is wanted; infinite for nan."""
    error = ((found - wanted).norm() / wanted.norm()).item()
    return error if error == error else float("inf")


@dataclass(frozen=True)
class Attention:
    """One way to attend to cached tokens.

    `shapes` are heads and size of a query, of keys and of values. `module` is the model's layer,
    where it has an `attend` of its own, and `kernel` as of `KVCache`. `exact` computes the same of
    one row in float64, from (heads, size), (heads, tokens, size) and (heads, tokens, size).
    """

    name: str
    shapes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    scaling: float
    exact: Callable[..., torch.Tensor]
    module: object = None
    kernel: Callable[..., torch.Tensor] | None = None


def _attentions(setting: Setting, record: Record) -> Iterator[Attention]:
    """Yield all that the real models use, in their shapes."""
    ways = {"segments": None}
    if kernel := flash_kernel(setting.hardware.attention):
        ways["flash_attn_with_kvcache"] = kernel
    else:
        record.lack("flash_attention_2 is not available here: its kernel for decoding is not tried")
    for (heads, shared), (way, kernel) in itertools.product(HEADS, ways.items()):
        name, shapes = f"{way}, {heads}/{shared} heads", ((heads, 128), (shared, 128))
        yield Attention(name, (*shapes, shapes[1]), 128**-0.5, _grouped, kernel=kernel)
    # Kimi's, on latents and one rotary key for all heads.
    text = families.get("kimi_vl").read_config(checkpoint_specs.ROOT / "kimi_vl").text_config
    layer = DeepseekV3Attention(text, 0).to(setting.device, torch.bfloat16)
    latent_attention.absorb(layer)
    query = text.num_attention_heads, text.qk_nope_head_dim + text.qk_rope_head_dim
    shapes = query, (1, text.kv_lora_rank), (1, text.qk_rope_head_dim)
    exact = functools.partial(_expanded, layer)
    yield Attention("latents", shapes, layer.scaling, exact, module=layer)


def _grouped(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float
) -> torch.Tensor:
    keys, values = (part.repeat_interleave(len(query) // len(part), 0) for part in (keys, values))
    weights = (torch.einsum("hd,hkd->hk", query, keys) * scaling).softmax(-1)
    return torch.einsum("hk,hkd->hd", weights, values)


def _expanded(
    layer, query: torch.Tensor, latents: torch.Tensor, rotary: torch.Tensor, scaling: float
) -> torch.Tensor:
    heads, size = len(query), layer.qk_nope_head_dim
    expanded = latents[0] @ layer.kv_b_proj.weight.double().T
    expanded = expanded.reshape(len(expanded), heads, -1).transpose(0, 1)
    keys = torch.cat((expanded[..., :size], rotary.expand(heads, -1, -1)), -1)
    return _grouped(query, keys, expanded[..., size:], scaling)


@torch.inference_mode()
def kernels(setting: Setting, record: Record) -> None:
    """Attention over the KV cache against float64, and the sampler against the CPU's."""
    batches, lengths = ((1, 2, 7, 48, 256), (100, 700, 4000))
    if setting.tiny:
        batches, lengths = ((2, 5), (100, 300))
    torch.manual_seed(0)
    for attention in _attentions(setting, record):
        for rows, longest in itertools.product(batches, lengths):
            name = f"{attention.name}, {rows} rows of at most {longest}"
            with record.case(name):
                _check_attention(setting, record, name, attention, rows, longest)
    for decoding in (
        {"temperature": 0.8},
        {"temperature": 0.6, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1},
    ):
        with record.case(f"sampler, {decoding}"):
            _check_sampler(setting, record, f"sampler, {decoding}", decoding)


def _check_attention(
    setting: Setting, record: Record, name: str, attention: Attention, rows: int, longest: int
) -> None:
    """Check rows of random lengths up to `longest`."""

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.bfloat16, device=setting.device)

    lengths = torch.randint(1, longest + 1, (rows,)).sort(descending=True).values.tolist()
    lengths[0] = longest
    (heads, width), *parts = attention.shapes
    held = [[drawn(shared, n, size) for shared, size in parts] for n in lengths]
    new = [drawn(rows, shared, 1, size) for shared, size in parts]
    query = drawn(rows, heads, 1, width)
    cache = KVCache([tuple(new)], rows, rows * 2 * (longest + BLOCK), attention.kernel)
    cache.reserve([n + 1 for n in lengths])
    wanted = []
    for row, tokens in enumerate(held):
        cache.insert([tuple(part[None] for part in tokens)], row, [lengths[row]])
        whole = (torch.cat((part, n[row]), 1).double() for part, n in zip(tokens, new, strict=True))
        wanted.append(attention.exact(query[row, :, 0].double(), *whole, attention.scaling))
    cache.begin(lengths)
    read = cache.update(*new, 0)
    out, _ = attend(attention.module, query, *read, None, scaling=attention.scaling, kv_cache=cache)
    errors = [relative_error(out[row, 0].double(), wanted[row]) for row in range(rows)]
    worst = max(range(rows), key=errors.__getitem__)
    found = {"relative_error": errors[worst], "worst_row": worst, "its_length": lengths[worst]}
    record.check(name, errors[worst] < KERNEL_ERROR, **found)


def _check_sampler(setting: Setting, record: Record, name: str, decoding: dict) -> None:
    """Check that the same scores give the same tokens as on the CPU, in batches of any size."""
    vocabulary, equal = 1000 if setting.tiny else 150_000, []
    for rows in (1, 3, 64, 17):
        scores, draws = 3 * torch.randn(rows, vocabulary), [(row, rows) for row in range(rows)]
        exact, found = (
            TokenSampler(decoding, rows, vocabulary, device) for device in ("cpu", setting.device)
        )
        wanted = exact(scores, 0, draws)
        equal += (found(scores.to(setting.device), 0, draws).cpu() == wanted).tolist()
    # top_p cuts off at a cumulative sum, which is rounded differently.
    record.check(name, np.mean(equal) > 0.95, equal=np.mean(equal), **found.record)


def small(family: str, device: str, dtype: torch.dtype, attention: str = "sdpa") -> tuple:
    """Return a family's smallest model, with the same weights on each device, and its processor."""
    return synthetic.built({"family": family}, Hardware(device, dtype, attention), tiny=True)


def encoded_prompts(processor, count: int) -> list[dict[str, torch.Tensor]]:
    """Return prompts of different lengths, with pictures of different sizes."""
    return [
        encode(
            processor,
            first_conversation(drawn_picture(i, (60 + 20 * i, 90)), "Why? " * (i + 1), {}),
        )
        for i in range(count)
    ]


def decoded(
    model, prompts: list[dict], *, together: bool, forced: list | None = None, steps: int = 8
) -> list[torch.Tensor]:
    """Return the scores of prompts and of the steps that follow.

    The prompts enter as one left-padded batch (`together`) or one by one. The tokens of each step
    are `forced`, or the most likely ones. Scores are (rows, vocabulary), float32, on the CPU.
    """
    runner = ModelRunner(model, 5, 16384)
    moved = [_moved(prompt, model) for prompt in prompts]
    if together:
        first = runner.prefill(collate(moved, model.generation_config.pad_token_id))
    else:
        first = torch.cat([runner.prefill(prompt) for prompt in moved])
    order = torch.tensor(runner.keep(range(len(prompts))))
    scores = [first.float().cpu()]
    for step in range(steps):
        tokens = forced[step] if forced else scores[-1].argmax(-1)
        found = runner.step(tokens[order].to(model.device)).float().cpu()
        scores.append(torch.empty_like(found).index_copy_(0, order, found))
    return scores


@torch.inference_mode()
def reference(setting: Setting, record: Record) -> None:
    """Small models of every family with the same weights: the device against float32 on the CPU."""
    torch.backends.cudnn.allow_tf32 = False  # the convolutions of image towers are to be exact
    cases = [("float32", "sdpa", FLOAT32_ERROR), ("bfloat16", "sdpa", BFLOAT16_ERROR)]
    if setting.hardware.attention == "flash_attention_2":
        cases.append(("bfloat16", "flash_attention_2", BFLOAT16_ERROR))
    else:
        record.lack("flash_attention_2 is not available here and is not compared")
    for family in families.NAMES:
        with record.case(family):
            exact, processor = small(family, "cpu", torch.float32)
            prompts = encoded_prompts(processor, 3)
            wanted = decoded(exact, prompts, together=False)
            forced = [scores.argmax(-1) for scores in wanted[:-1]]
        for dtype, attention, bound in cases:
            with record.case(f"{family}, {dtype}, {attention}"):
                model, _ = small(family, setting.device, getattr(torch, dtype), attention)
                for together in (False, True):
                    found = decoded(model, prompts, together=together, forced=forced)
                    error = max(map(relative_error, found, wanted))
                    way = "padded batch" if together else "one by one"
                    name = f"{family}, {dtype}, {attention}, {way}"
                    record.check(name, error < bound, relative_error=error)


@torch.inference_mode()
def host_syncs(setting: Setting, record: Record) -> None:
    """No decoding step waits for the host, nor does the sampler, until its tokens are read.

    On the CPU, where it cannot be noticed, they run.
    """
    if not setting.cuda:
        record.lack("no CUDA device: no wait for the host is noticed")
    for family in families.NAMES:
        with record.case(family):
            model, processor = small(family, setting.device, setting.half)
            prompt = _moved(encoded_prompts(processor, 1)[0], model)
        for rows in (3, 24):
            name = f"{family}, {rows} rows do not wait for the host"
            with record.case(name):
                runner = ModelRunner(model, rows, 65536)
                for _ in range(rows):
                    runner.prefill(prompt)
                tokens = torch.full((rows,), 70, device=setting.device)
                runner.step(tokens)  # libraries initialise themselves
                synchronize(setting.device)
                with _no_host_sync(setting):
                    scores = runner.step(tokens)
                record.check(name, scores.isfinite().all())
    name = "the sampler does not wait for the host"
    with record.case(name):
        scores = torch.randn(24, 1000, device=setting.device)
        sampler = TokenSampler(SAMPLED, 24, 1000, setting.device)
        draws = [(row, 1) for row in range(24)]
        sampler(scores, 0, draws)
        synchronize(setting.device)
        with _no_host_sync(setting):
            tokens = sampler(scores, 0, draws)
        record.check(name, len(tokens) == 24)


@contextmanager
def _no_host_sync(setting: Setting) -> Iterator[None]:
    """Let whatever waits for the host raise a RuntimeError."""
    if setting.cuda:
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if setting.cuda:
            torch.cuda.set_sync_debug_mode("default")


def timed(work: Callable[[], object], count: int, device: str) -> float:
    """Return the milliseconds that one call takes, after two that are not counted."""
    for _ in range(2):
        work()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        work()
    synchronize(device)
    return round(1000 * (time.perf_counter() - start) / count, 2)


def running_lengths(setting: Setting, prompt: int, seed: int = 0) -> list[int]:
    """Return the cached tokens of rows in steady state, longest first.

    A row that is running has a total length biased by that length, and a uniform age.
    """
    total = drawn_lengths(100_000, *setting.lengths, seed)
    draw = np.random.default_rng(seed)
    total = draw.choice(total, setting.rows, p=total / total.sum())
    lengths = (prompt + total * draw.random(setting.rows)).astype(int).tolist()
    return sorted(lengths, reverse=True)


def estimate(setting: Setting, record: Record) -> None:
    """GPU hours for the teachers' responses if nothing but memory and arithmetic took time.

    The bytes and operations of a step are counted on the published shapes. Only the device's speeds
    of copying and of multiplying matrices are measured.
    """
    bandwidth, speed = copy_bandwidth(setting), product_speed(setting)
    record.measure("copy_gb_a_second", round(bandwidth / 1e9, 1))
    record.measure("products_tflops", round(speed / 1e12, 2))
    hours = {}
    for teacher in CONFIG["teachers"]:
        with record.case(teacher):
            settings = CONFIG["models"][teacher]
            model = checkpoint_specs.meta_model(settings["family"])
            processor = checkpoint_specs.processor(settings["family"], settings.get("image"))
            inputs = encode(processor, synthetic.conversations(1)[0])
            prompt, patches = inputs["input_ids"].shape[1], len(inputs["pixel_values"])
            lengths = running_lengths(setting, prompt)
            # With flash-attn each row is read as far as it goes, else its segment.
            latent = hasattr(model.config.get_text_config(), "kv_lora_rank")
            whole = latent or not flash_kernel(setting.hardware.attention)
            read = segment_tokens(lengths) if whole else sum(lengths) + len(lengths)
            mean = setting.lengths[0]
            found = counted(model, lengths, read, mean, prompt, patches, bandwidth, speed)
            for name, value in found.items():
                record.estimate(f"{teacher}, {name}", value)
            hours[teacher] = found["gpu_hours"]
            record.check(teacher, 0 < hours[teacher] < math.inf)
    if len(hours) == len(CONFIG["teachers"]):
        record.estimate(f"gpu_hours for {RESPONSES} responses", sum(hours.values()))


def segment_tokens(lengths: list[int]) -> int:
    """Return the tokens that a step reads in segments of rows with these lengths, longest first."""
    segments = _segments(len(lengths))
    return sum((part.stop - part.start) * (lengths[part.start] + 1) for part in segments)


def counted(
    model,
    lengths: list[int],
    read: int,
    mean: float,
    prompt: int,
    patches: int,
    bandwidth: float,
    speed: float,
) -> dict:
    """Return the least time of a step and of a prompt, and GPU hours for a response to each image.

    `lengths` are the cached tokens of running rows, and `read` is how many tokens a step reads. A
    response has `mean` tokens on average, a prompt `prompt` tokens and an image of so many
    `patches`. `bandwidth` is in bytes and `speed` in operations a second. The operations of
    attention are not counted.
    """
    rows, text, size = len(lengths), model.config.get_text_config(), model.dtype.itemsize
    cached = checkpoint_specs.cached_bytes(model.config, model.dtype) * read
    scores = 2 * rows * text.vocab_size * size  # written and read
    step_bytes = read_bytes(model, rows) + cached + scores
    per_token = 2 * read_bytes(model, 1) / size  # operations; of the experts, a token uses few
    step = max(step_bytes / bandwidth, rows * per_token / speed)
    language = itertools.chain(model.model.language_model.parameters(), model.lm_head.parameters())
    tower = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in language)
    prefill = (prompt * per_token + patches * 2 * tower) / speed
    response = prefill + mean * step / rows
    return {
        "rows": rows,
        "held_tokens": sum(lengths),
        "read_tokens": read,
        "step_gb": round(step_bytes / 1e9, 2),
        "step_ms": 1000 * step,
        "prefill_ms_a_prompt": 1000 * prefill,
        "gpu_hours": PAPER["images"] * response / 3600,
    }


def product_speed(setting: Setting) -> float:
    """Return the operations a second of a large product of matrices, in the engine's dtype."""
    size = 8192 if setting.cuda else 512
    left, right = (
        torch.randn(size, size, dtype=setting.half, device=setting.device) for _ in range(2)
    )
    return 2 * size**3 / timed(lambda: left @ right, 10, setting.device) * 1000


@torch.inference_mode()
def step_times(key: str, setting: Setting, record: Record) -> None:
    """One decoding step of realistic lengths, the sampler, a prefill, and a profile.

    The published shapes at full size. `throughput` measures how fast whole responses come.
    """
    with record.case(key):
        for name, value in _times(key, setting).items():
            record.measure(name, value)
        record.check(key, True)


def _times(key: str, setting: Setting) -> dict:
    """Return the times of one model in milliseconds, and what they were measured with."""
    few, device, settings = setting.tiny, setting.device, CONFIG["models"][key]
    model, processor = synthetic.built(settings, setting.hardware, few)
    prompts = [
        encode(processor, messages) for messages in synthetic.conversations(2 if few else 32)
    ]
    length = prompts[0]["input_ids"].shape[1]
    lengths = running_lengths(setting, length)
    runner = ModelRunner(model, setting.rows, None if setting.cuda else 200_000)
    runner.prefill(_moved(prompts[0], model))
    # The other rows hold nothing that was computed: the cost of a step depends only on lengths.
    while not runner.fits([n + 1 for n in lengths]):
        lengths.pop()
    rows = len(lengths)
    runner._offsets *= rows
    tokens = torch.full((rows,), 70, device=device)

    def step() -> torch.Tensor:
        runner.lengths = lengths
        return runner.step(tokens)

    step_ms = timed(step, 3 if few else 30, device)
    with mock.patch.object(kv_cache, "SEGMENTS", 1):
        unsegmented_ms = timed(step, 3 if few else 10, device)
    scores = step()
    sampler = TokenSampler(settings["decoding"], rows, scores.shape[-1], device)
    draws = [(row, 1) for row in range(rows)]
    sampler_ms = timed(lambda: sampler(scores, 0, draws), 3 if few else 20, device)
    with torch.profiler.profile() as profile:
        for _ in range(3):
            step()
        synchronize(device)
    order = f"self_{device}_time_total"
    table = profile.key_averages().table(order, row_limit=25, max_name_column_width=70)
    (setting.out / f"profile_{key}.txt").write_text(table + "\n", encoding="utf-8")
    runner.reset()  # its memory is needed for the prompts
    runner = ModelRunner(model, len(prompts), len(prompts) * 2 * (length + BLOCK))
    batch = collate(
        [_moved(prompt, model) for prompt in prompts], model.generation_config.pad_token_id
    )

    def prefill() -> None:
        runner.prefill(dict(batch))
        runner.keep([])

    prefill_ms = timed(prefill, 1 if few else 3, device)
    return {
        "rows": rows,
        "held_tokens": sum(lengths),
        "longest": lengths[0],
        "bytes_per_token": checkpoint_specs.cached_bytes(model.config, model.dtype),
        "step_ms": step_ms,
        "step_ms_in_one_segment": unsegmented_ms,
        "sampler_ms": sampler_ms,
        "prompts": len(prompts),
        "prompt_tokens": length,
        "prefill_ms": prefill_ms,
        "peak_gib": peak_gib(setting),
    }


def peak_gib(setting: Setting) -> float | None:
    """Return the greatest amount of memory that was in use."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 1) if setting.cuda else None


@contextmanager
def little_memory(setting: Setting, spare: int) -> Iterator[None]:
    """Leave a device `spare` MiB beyond what is allocated now.

    On the CPU, where no limit can be set, steps of more rows than a share of `spare` raise what a
    full device raises.
    """
    if setting.cuda:
        torch.cuda.empty_cache()
        limit = torch.cuda.memory_allocated() + spare * 2**20
        share = limit / torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
        return
    step = ModelRunner.step

    def step_or_raise(runner: ModelRunner, tokens: torch.Tensor) -> torch.Tensor:
        if len(tokens) > spare // 30:
            raise torch.OutOfMemoryError(f"{len(tokens)} rows on a device for {spare // 30}")
        return step(runner, tokens)

    with mock.patch.object(ModelRunner, "step", step_or_raise):
        yield


def out_of_memory(setting: Setting, record: Record) -> None:
    """A device that is too full ends no job: all responses come, with fewer rows at a time."""
    if not setting.cuda:
        record.lack("no CUDA device: running out of memory is simulated")
    count, tokens, spares = (18, 4, (400, 60)) if setting.tiny else (40, 20, (400, 150, 60))
    for family in ("glm4v", "kimi_vl"):
        with record.case(family):
            model, processor = small(family, setting.device, setting.half)
            roomy, _ = _answers(model, processor, count, tokens)
            for spare in spares:
                name = f"{family}, {spare} MiB"
                with record.case(name), little_memory(setting, spare):
                    try:
                        tight, events = _answers(model, processor, count, tokens)
                    except EngineError as error:
                        # Not even one row had room: the job ends, and says so.
                        record.check(name, "out of memory" in str(error), error=str(error)[:300])
                        continue
                    errors = [error for _, error in tight.values() if error]
                    same = sum(tight[key] == roomy[key] for key in roomy)
                    named = all("out of memory" in error for error in errors)
                    # In bfloat16 the texts depend on which rows share a step.
                    exact = setting.half is torch.bfloat16 or same + len(errors) == len(roomy)
                    record.check(
                        name,
                        tight.keys() == roomy.keys() and named and exact,
                        same=same,
                        errors=len(errors),
                        out_of_memory=events,
                    )


def _answers(model, processor, count: int, tokens: int) -> tuple[dict, list[dict]]:
    """Return text and error of short responses by key, and each time that memory ran out."""
    engine = TransformersEngine(
        model,
        processor,
        decoding={"temperature": 0.0},
        loop=None,
        stop_ids=[],
        batch_size=16,
        cached_tokens=65536,
        workers=1,
    )
    requests = synthetic.forced_requests(
        [tokens + i % 7 for i in range(count)], synthetic.conversations(count, (60, 90), "Why?")
    )
    found = {r.key: (r.text, r.error) for r in engine.generate(requests)}
    engine.close()
    return found, engine.record["out_of_memory"]


def throughput(key: str, setting: Setting, record: Record) -> None:
    """The whole engine on one model in steady state, as GPU hours for the paper's responses."""
    with record.case(key), torch.inference_mode():
        settings = CONFIG["models"][key]
        bandwidth = copy_bandwidth(setting)
        record.measure("copy_gb_a_second", round(bandwidth / 1e9, 1))
        model, processor = synthetic.built(settings, setting.hardware, setting.tiny)
        messages = synthetic.conversations(32)
        used = in_flight(model, processor, settings["decoding"], messages, setting)
        prompt = encode(processor, messages[0])["input_ids"].shape[1]
        measured = figures(used, model, prompt, setting.lengths[0], bandwidth)
        for name, value in measured.items():
            record.measure(name, value)
        record.measure("peak_gib", peak_gib(setting))
        record.check(key, used["steps"] > 0)


def in_flight(model, processor, decoding: dict, messages: list, setting: Setting) -> dict:
    """Return what the engine's statistics grew by, its `wall` seconds, and `bound` on rows.

    The first third of the time is not measured. With tiny shapes a number of steps is the time, so
    that it succeeds on a machine of any speed; at least one step is always measured.
    """
    engine = TransformersEngine(
        model,
        processor,
        decoding=decoding,
        loop=None,
        stop_ids=[],
        batch_size=setting.rows,
        workers=4 if setting.cuda else 1,
    )
    start, warm = time.perf_counter(), None
    responses = engine.generate(endless_requests(messages, setting))
    for response in responses:
        if response.error:
            raise RuntimeError(response.error)
        now, steps = time.perf_counter(), engine.statistics["steps"]
        spent = steps / 9 if setting.tiny else (now - start) / setting.seconds
        if warm is None:
            if spent > 1 / 3:
                warm = now, dict(engine.statistics)
        elif spent > 1 and steps > warm[1]["steps"]:
            break
    used = {name: value - warm[1][name] for name, value in engine.statistics.items()}
    used |= {"wall": time.perf_counter() - warm[0], "bound": engine.bound}
    responses.close()
    engine.close()
    return used


def endless_requests(messages: list, setting: Setting) -> Iterator[Request]:
    """Yield requests of drawn lengths without end."""
    for seed in itertools.count():
        yield from synthetic.forced_requests(drawn_lengths(1024, *setting.lengths, seed), messages)


def figures(used: dict, model, prompt: int, mean: float, bandwidth: float) -> dict:
    """Return what follows from the engine's statistics.

    The share of the bandwidth is what a step has to read (weights of the language model; cached
    tokens) over its time, as a share of what a copy on the same device moves. GPU hours are for as
    many responses as the paper has images, with the mean prompt and response at measured speeds.
    `used` is as from `in_flight`, `prompt` and `mean` are the tokens of a prompt and of a response
    on average, and `bandwidth` is in bytes a second.
    """
    step_seconds, rows = used["decode_seconds"] / used["steps"], used["row_steps"] / used["steps"]
    size = checkpoint_specs.cached_bytes(model.config, model.dtype)
    read = read_bytes(model, rows) + size * used["step_cache_tokens"] / used["steps"]
    prefill_speed = used["prefill_tokens"] / used["prefill_seconds"]
    waiting = used["wall"] / (used["prefill_seconds"] + used["decode_seconds"])
    response = waiting * (prompt / prefill_speed + mean * step_seconds / rows)
    return {
        "rows": used["bound"],
        "steps": used["steps"],
        "put_back": used["put_back"],
        "prefill_tokens_a_second": round(prefill_speed, 1),
        "decode_tokens_a_second": round(rows / step_seconds, 1),
        "step_ms": round(1000 * step_seconds, 2),
        "row_use": round(used["row_steps"] / used["places"], 3),
        "share_of_bandwidth": round(read / step_seconds / bandwidth, 4),
        "wall_over_busy": round(waiting, 3),
        "tokens_a_second": round(mean / response, 1),
        "gpu_hours": PAPER["images"] * response / 3600,
    }


def copy_bandwidth(setting: Setting) -> float:
    """Return the bytes a second that a copy on the device reads and writes."""
    source = torch.ones(2**31 if setting.cuda else 2**26, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    milliseconds = min(timed(lambda: target.copy_(source), 4, setting.device) for _ in range(10))
    return 2 * len(source) / milliseconds * 1000


def read_bytes(model, rows: float) -> float:
    """Return the bytes of weights that a decoding step of so many rows has to read.

    Of a mixture of experts, those count that so many rows choose on average if all experts are
    equally likely.
    """
    text = model.config.get_text_config()
    per_token = getattr(text, "num_experts_per_tok", None)
    chosen = 1 - (1 - per_token / text.n_routed_experts) ** rows if per_token else 1.0
    total = 0.0
    for part in (model.lm_head, model.model.language_model):
        for name, weight in part.named_parameters():
            if name == "embed_tokens.weight":
                continue  # a row per token
            share = chosen if ".experts." in name else 1.0
            total += weight.numel() * weight.element_size() * share
    return total


STEPS: dict[str, Callable[[Setting, Record], None]] = {
    "environment": environment,
    "kernels": kernels,
    "reference": reference,
    "host_syncs": host_syncs,
    "estimate": estimate,
    **{f"step_times-{key}": functools.partial(step_times, key) for key in MODELS},
    "out_of_memory": out_of_memory,
    **{f"throughput-{key}": functools.partial(throughput, key) for key in MODELS},
}


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--out", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the code")
    parser.add_argument("--seconds", type=float, default=120.0, help="time for throughput")
    given = parser.parse_args()
    hardware = choose_hardware(dict.fromkeys(("device", "dtype", "attention"), "auto"))
    if hardware.device == "cpu":
        if not given.tiny:
            parser.error("no CUDA device here; --tiny runs on the CPU")
        torch.set_num_threads(1)
    setting = Setting(given.out, given.tiny, given.seconds, hardware)
    record = Record(given.out / f"{given.step}.json", given.step)
    STEPS[given.step](setting, record)
    record.finish()


if __name__ == "__main__":
    main()
