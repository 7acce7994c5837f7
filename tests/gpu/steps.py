"""The steps of the GPU session: what has to be known of the engine on a real device.

Run as `python tests/gpu/steps.py STEP --out FOLDER`; `session.py` runs all of them. A step writes
what it finds to `FOLDER/STEP.json` after every case, so that what it found stays when it is ended.
Models have the published architectures and random weights; nothing is downloaded. `--tiny` runs the
same code with small shapes, also on the CPU.
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from unittest import mock

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "unit"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np
import throughput
import torch
from flash_emulation import Kernels
from throughput import CONFIG, MODELS, drawn_lengths, drawn_picture, synchronize

from imagenet_think.core.files import write_text
from imagenet_think.inference import checkpoint_specs, families
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import EngineError, Request
from imagenet_think.inference.engines import attention as attention_module
from imagenet_think.inference.engines.attention import attend_pages, attend_rows, lacks_pages
from imagenet_think.inference.engines.hardware import Hardware, choose_hardware
from imagenet_think.inference.engines.kv_cache import PAGE, PageStore, RowStore
from imagenet_think.inference.engines.model_runner import Decoder
from imagenet_think.inference.engines.transformers_engine import (
    TransformersEngine,
    _placed,
    collate,
)
from imagenet_think.inference.token_sampler import RowSampler

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "tokenizers", "huggingface_hub", "numpy", "triton")
NEEDED_GIB = 75  # of the device, for models of full size with 256 rows
HEADS = ((32, 2), (28, 4), (32, 8), (16, 16))  # query heads and key heads of the real models
FLOAT32_ERROR, BFLOAT16_ERROR = 1e-3, 0.05  # relative, of scores over the whole vocabulary
KERNEL_ERROR = 0.02  # relative, of bfloat16 attention against float64


@dataclass(frozen=True)
class Setting:
    """What a step is run with."""

    out: Path
    tiny: bool
    seconds: float
    models: list[str]
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
        """The dtype in which the step runs models whose numbers need not be exact."""
        return torch.bfloat16 if self.cuda else torch.float32


class Record:
    """What a step found, in a file that is written again after every entry.

    Parameters
    ----------
    path
        The JSON file.
    step
        The step's name.
    """

    def __init__(self, path: Path, step: str):
        self.path, self.start = path, time.perf_counter()
        self.content = {"step": step, "finished": False, "checks": [], "measured": {}}
        self.content |= {"lacking": []}
        self._save()

    def check(self, name: str, passed: bool, **values) -> None:
        """Note whether something is as it must be."""
        self.content["checks"].append({"name": name, "passed": bool(passed), **values})
        print(f"{'passed' if passed else 'FAILED'}: {name} {values or ''}", flush=True)
        self._save()

    def measure(self, name: str, value) -> None:
        """Note something that is neither right nor wrong."""
        self.content["measured"][name] = value
        print(f"{name}: {value}", flush=True)
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
        write_text(json.dumps(self.content, indent=1, default=str) + "\n", self.path)


def environment(setting: Setting, record: Record) -> None:
    """Versions, and what this machine lacks of what the engine can use."""
    for name in PACKAGES:
        record.measure(name, _version(name))
    record.measure("python", sys.version)
    record.measure("attention", setting.hardware.attention)
    if not _version("flash-attn"):
        record.lack("flash-attn is not installed: prompts and image towers use sdpa")
    vllm = _version("vllm") or (ROOT / ".venv-vllm/bin/vllm").exists()
    record.measure("vllm", vllm)
    if not vllm:
        record.lack("vLLM is not installed, so its speed cannot be compared on this machine")
    paged = attention_module.varlen_attn is not None and "block_table" in (
        inspect.signature(attention_module.varlen_attn).parameters
    )
    record.measure("varlen_attn takes pages", paged)
    if not paged:
        record.lack("torch has no varlen_attn with block_table: the cache is in rows, not in pages")
    if not setting.cuda:
        record.lack("no CUDA device: kernels, graphs and memory limits of a GPU are not tested")
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
    # Grouped experts can be captured in a graph only where their kernel reads its offsets on the
    # device; the fallback for other GPUs copies them to the host.
    rows = torch.randn(96, 64, device="cuda", dtype=torch.bfloat16)
    experts = torch.randn(4, 64, 32, device="cuda", dtype=torch.bfloat16)
    ends = torch.tensor([20, 20, 50, 96], device="cuda", dtype=torch.int32)
    try:
        torch.nn.functional.grouped_mm(rows, experts, offs=ends)  # libraries initialise themselves
        with no_host_sync(setting):
            torch.nn.functional.grouped_mm(rows, experts, offs=ends)
    except RuntimeError as error:
        record.lack(f"grouped_mm cannot be captured here, so Kimi has no CUDA graphs: {error}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def no_host_sync(setting: Setting) -> Iterator[None]:
    """Let whatever waits for the host raise a RuntimeError; on the CPU nothing can be noticed."""
    if not setting.cuda:
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is wanted; infinite for nan."""
    error = ((found - wanted).norm() / wanted.norm()).item()
    return error if error == error else float("inf")


def plain_kernel(setting: Setting) -> AbstractContextManager:
    """On the CPU, let a plain kernel replace that of pages: it checks what it is given."""
    if setting.cuda:
        return nullcontext()
    return mock.patch.object(attention_module, "varlen_attn", Kernels().paged)


@torch.inference_mode()
def kernels(setting: Setting, record: Record) -> None:
    """Attention over pages and over rows, against float64."""
    if not setting.cuda:
        record.lack("no CUDA device: a plain kernel replaces that of pages")
    batches, lengths = ((2, 5), (100, 300)) if setting.tiny else ((1, 2, 7, 48, 256), (100, 700))
    lengths = lengths if setting.tiny else (*lengths, 4000)
    torch.manual_seed(0)
    for heads, shared in HEADS:
        layer = tuple(
            torch.zeros(1, shared, 1, 128, dtype=torch.bfloat16, device=setting.device)
            for _ in "kv"
        )
        ways = [(RowStore, attend_rows), (PageStore, attend_pages)]
        lacking = lacks_pages(heads, *layer) if setting.cuda else None
        if lacking:
            record.lack(f"no pages with {heads} query and {shared} key heads: {lacking}")
            del ways[1]
        for rows in batches:
            for longest in lengths:
                with plain_kernel(setting):
                    _attend_both(record, ways, layer, heads, rows, longest)


def _attend_both(record: Record, ways: list, layer: tuple, heads: int, rows: int, longest: int):
    """Check each kind of store on the same rows, of random lengths up to `longest`."""
    shared, device = layer[0].shape[1], layer[0].device
    name = f"{heads}/{shared} heads, {rows} rows of at most {longest}"

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.bfloat16, device=device)

    lengths = torch.randint(1, longest + 1, (rows,), device=device)
    lengths[-1] = longest
    counts = lengths.tolist()
    held = [(drawn(n, shared, 128), drawn(n, shared, 128)) for n in counts]
    new = [drawn(rows, shared, 1, 128) for _ in "kv"]
    query = drawn(rows, heads, 1, 128)
    wanted = []
    for row, parts in enumerate(held):
        keys, values = (
            torch.cat((part, token[row].transpose(0, 1)))
            .double()
            .repeat_interleave(heads // shared, 1)
            for part, token in zip(parts, new, strict=True)
        )
        weights = torch.einsum("hd,khd->hk", query[row, :, 0].double(), keys) * 128**-0.5
        wanted.append(torch.einsum("hk,khd->hd", weights.softmax(-1), values))
    for kind, attend in ways:
        with record.case(f"{name}, {kind.name}"):
            store = kind([layer], rows, rows * 2 * (longest + PAGE) + PAGE)
            store.reserve([n + 1 for n in counts])
            for row, parts in enumerate(held):
                tokens = torch.arange(counts[row], device=device)
                store.write(0, torch.full_like(tokens, row), tokens, *parts)
            store.begin(lengths, store.reach(longest + 1))
            read = store.update(*new, 0)
            out, _ = attend(None, query, *read, store.mask, scaling=128**-0.5, store=store)
            errors = [relative_error(out[row, 0].double(), wanted[row]) for row in range(rows)]
            worst = max(range(rows), key=errors.__getitem__)
            record.check(
                f"{name}, {kind.name}",
                errors[worst] < KERNEL_ERROR,
                relative_error=errors[worst],
                worst_row=worst,
                its_length=counts[worst],
            )


def small(family: str, device: str, dtype: torch.dtype, attention: str = "sdpa") -> tuple:
    """Return a family's smallest model, with the same weights on each device, and its processor."""
    hardware = Hardware(device, str(dtype).removeprefix("torch."), attention)
    return throughput.built({"family": family}, hardware, tiny=True)


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
) -> tuple[list[torch.Tensor], Decoder]:
    """Return the scores of prompts and of the steps that follow, and the decoder.

    The prompts enter as one left-padded batch (`together`) or one by one. The tokens of each step
    are `forced`, or the most likely ones. Scores are (rows, vocabulary), float32, on the CPU.
    """
    decoder = Decoder(model, 5, 16384)
    placed = [_placed(prompt, model) for prompt in prompts]
    if together:
        batch = collate(placed, model.generation_config.pad_token_id)
        first = decoder.prefill(batch, list(range(len(prompts))))
    else:
        first = torch.cat([decoder.prefill(prompt, [i]) for i, prompt in enumerate(placed)])
    scores = [first.float().cpu()]
    for step in range(steps):
        tokens = forced[step] if forced else scores[-1].argmax(-1)
        scores.append(decoder.step(tokens.to(model.device)).float().cpu())
    return scores, decoder


@torch.inference_mode()
def reference(setting: Setting, record: Record) -> None:
    """Small models of every family with the same weights: the device against float32 on the CPU."""
    torch.backends.cudnn.allow_tf32 = False  # the convolutions of image towers are to be exact
    cases = [("float32", "sdpa", FLOAT32_ERROR), ("bfloat16", "sdpa", BFLOAT16_ERROR)]
    if setting.hardware.attention == "flash_attention_2":
        cases.append(("bfloat16", "flash_attention_2", BFLOAT16_ERROR))
    else:
        record.lack("flash_attention_2 cannot be had here and is not compared")
    for family in families.NAMES:
        with record.case(family):
            exact, processor = small(family, "cpu", torch.float32)
            prompts = encoded_prompts(processor, 3)
            wanted, _ = decoded(exact, prompts, together=False)
            forced = [scores.argmax(-1) for scores in wanted[:-1]]
        for dtype, attention, bound in cases:
            with record.case(f"{family}, {dtype}, {attention}"):
                model, _ = small(family, setting.device, getattr(torch, dtype), attention)
                for together in (False, True):
                    found, decoder = decoded(model, prompts, together=together, forced=forced)
                    error = max(map(relative_error, found, wanted))
                    way = "padded batch" if together else "one by one"
                    record.check(
                        f"{family}, {dtype}, {attention}, {way}",
                        error < bound,
                        relative_error=error,
                        store=decoder.store.name,
                        graphs=len(decoder.graphs),
                    )


@torch.inference_mode()
def graphs(setting: Setting, record: Record) -> None:
    """A decoding step can be captured, and its graph gives the scores that its kernels give."""
    if not setting.cuda:
        record.lack("no CUDA device: nothing is captured, and no wait for the host is noticed")
    for family in families.NAMES:
        with record.case(family):
            model, processor = small(family, setting.device, setting.half)
            prompts = encoded_prompts(processor, 3)
        for rows in (3, 24):
            with record.case(f"{family}, {rows} rows wait nowhere for the host"):
                scores = _watched_step(model, [prompts[0]] * rows, setting)
                name = f"{family}, {rows} rows wait nowhere for the host"
                record.check(name, scores.isfinite().all())
        with record.case(f"{family}, same scores"):
            captured, plain = (Decoder(model, 5, 8192) for _ in range(2))
            plain.captures = False
            worst = _worst_of_pair(captured, plain, prompts)
            record.check(f"{family}, same scores", worst < KERNEL_ERROR, relative_error=worst)
            if setting.cuda:
                held = len(captured.graphs) if captured.captures else 0
                record.check(f"{family}, steps were captured", held == 2, graphs=held)


def _watched_step(model, prompts: list[dict], setting: Setting) -> torch.Tensor:
    """Return the scores of a step that raises an error where it waits for the host."""
    decoder = Decoder(model, len(prompts), 65536)
    decoder.captures = False
    for row, prompt in enumerate(prompts):
        decoder.prefill(_placed(prompt, model), [row])
    tokens = torch.full((len(prompts),), 70, device=setting.device)
    decoder.step(tokens)  # libraries initialise themselves
    synchronize(setting.device)
    with no_host_sync(setting):
        return decoder.step(tokens)


def _worst_of_pair(one: Decoder, other: Decoder, prompts: list[dict]) -> float:
    """Return the greatest relative error of one decoder's scores against another's."""
    worst = 0.0
    for decoder in (one, other):
        for row, prompt in enumerate(prompts):
            decoder.prefill(_placed(prompt, decoder.model), [row])
    for step in range(6):
        if step == 3:  # a row ends, and the last one takes its place
            for decoder in (one, other):
                decoder.release(0)
                decoder.move(2, 0)
                decoder.cut(2)
        tokens = torch.arange(len(one.lengths), device=one.model.device) + 70 + step
        worst = max(worst, relative_error(one.step(tokens).float(), other.step(tokens).float()))
    return worst


def timed(work: Callable[[], object], count: int, device: str) -> float:
    """Return the milliseconds that one call takes, after two that are not counted."""
    for _ in range(2):
        work()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        work()
    synchronize(device)
    return 1000 * (time.perf_counter() - start) / count


def running_lengths(rows: int, tiny: bool, prompt: int, seed: int = 0) -> list[int]:
    """Return the cached tokens of rows in steady state.

    A row that is running has a total length biased by that length, and a uniform age.
    """
    options = throughput.chosen_options(tiny)
    total = drawn_lengths(100_000, options["mean"], options["longest"], seed)
    draw = np.random.default_rng(seed)
    total = draw.choice(total, rows, p=total / total.sum())
    return (prompt + total * draw.random(rows)).astype(int).tolist()


def step_times(setting: Setting, record: Record) -> None:
    """One decoding step of realistic lengths, with and without graphs; sampler; prompts; profile.

    The published shapes at full size. How fast whole responses come is measured by `throughput`.
    """
    for key in setting.models:
        with record.case(key), torch.inference_mode():
            record.measure(key, _step_times_of(key, setting))
            record.check(key, True)
        if setting.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _step_times_of(key: str, setting: Setting) -> dict:
    """Return the times of one model in milliseconds, and with what they were measured."""
    few, device, settings = setting.tiny, setting.device, CONFIG["models"][key]
    rows = throughput.chosen_options(few)["rows"]
    hardware = setting.hardware
    model, processor = throughput.built(settings, hardware, few)
    prompts = [
        encode(processor, first_conversation(drawn_picture(i), throughput.PROMPT, {}))
        for i in range(2 if few else 32)
    ]
    length = prompts[0]["input_ids"].shape[1]
    lengths = running_lengths(rows, few, length)
    decoder = Decoder(model, rows, None if setting.cuda else 200_000)
    decoder.prefill(_placed(prompts[0], model), [0])
    # The other rows hold nothing that was computed: what a step costs depends on lengths alone.
    decoder._reserve(lengths)
    decoder.lengths = list(lengths)
    decoder._lengths[:] = torch.tensor(lengths, device=device)
    tokens = torch.full((rows,), 70, device=device)
    with_graphs = timed(lambda: decoder.step(tokens), 3 if few else 30, device)
    captured = len(decoder.graphs) if decoder.captures else None
    decoder.captures = False
    without = timed(lambda: decoder.step(tokens), 3 if few else 10, device)
    scores = decoder.step(tokens)
    sampler = RowSampler(settings["decoding"], rows, scores.shape[-1], device)
    sampling = timed(lambda: sampler(scores, list(range(rows))), 3 if few else 20, device)
    with torch.profiler.profile() as profile:
        for _ in range(3):
            decoder.step(tokens)
        synchronize(device)
    order = f"self_{device}_time_total"
    table = profile.key_averages().table(order, row_limit=25, max_name_column_width=70)
    write_text(table + "\n", setting.out / f"profile_{key}.txt")
    store = decoder.store.name
    decoder.forget()  # its memory is needed for the prompts
    taker = Decoder(model, len(prompts), len(prompts) * 2 * (length + PAGE))
    places = list(range(len(prompts)))
    placed = [_placed(prompt, model) for prompt in prompts]
    padding = model.generation_config.pad_token_id
    prefill = timed(
        lambda: taker.prefill(collate(placed, padding), places), 1 if few else 3, device
    )
    return {
        "store": store,
        "rows": rows,
        "held_tokens": sum(lengths),
        "longest": max(lengths),
        "bytes_per_token": checkpoint_specs.cached_bytes(model.config, hardware.torch_dtype),
        "step_ms_with_graphs": round(with_graphs, 2) if captured else None,
        "graphs": captured,
        "step_ms_without_graphs": round(without, 2),
        "sampler_ms": round(sampling, 2),
        "prompts": len(prompts),
        "prompt_tokens": length,
        "prefill_ms": round(prefill, 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1) if setting.cuda else None,
    }


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
    step = Decoder.step

    def step_or_raise(decoder: Decoder, tokens: torch.Tensor) -> torch.Tensor:
        if len(tokens) > spare // 30:
            raise torch.OutOfMemoryError(f"{len(tokens)} rows on a device for {spare // 30}")
        return step(decoder, tokens)

    with mock.patch.object(Decoder, "step", step_or_raise):
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
                        tight, about = _answers(model, processor, count, tokens)
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
                        **about,
                    )
                    if setting.cuda:
                        record.check(f"{name}, graphs are still used", about["graphs"] is not None)


def _answers(model, processor, count: int, tokens: int) -> tuple[dict, dict]:
    """Return text and error of short responses by key, and how they were generated."""
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
    conversations = [
        first_conversation(drawn_picture(i, (60, 90)), "Why?", {}) for i in range(count)
    ]
    requests = [
        Request(str(i), messages, seed=i, max_new_tokens=tokens + i % 7)
        for i, messages in enumerate(conversations)
    ]
    found = {r.key: (r.text, r.error) for r in engine.generate(requests)}
    decoder = engine.decoder
    about = {
        "bounds": list(engine.record["bounds"]),
        "graphs": len(decoder.graphs) if decoder.captures else None,
    }
    engine.close()
    return found, about


def engine_throughput(setting: Setting, record: Record) -> None:
    """The whole engine in steady state, by `throughput.py`; its table is in `throughput.md`."""
    options, begin = throughput.chosen_options(setting.tiny), time.time()
    machines, rows = {}, []
    found_so_far = throughput.measured(
        setting.models, ["in flight"], begin + setting.seconds, options
    )
    for kind, key, found in found_so_far:
        if kind == "machine":
            machines[MODELS[key]] = found
            record.measure(MODELS[key], found)
            continue
        rows.append(found)
        record.check(found["model"], "error" not in found, error=found.get("error"))
        record.measure(f"{found['model']}, {found['stage']}", found)
        page = throughput.report(machines, rows, {**options, **throughput.described()})
        write_text(page + "\n", setting.out / "throughput.md")
    print(page)


STEPS: dict[str, Callable[[Setting, Record], None]] = {
    "environment": environment,
    "kernels": kernels,
    "reference": reference,
    "graphs": graphs,
    "step_times": step_times,
    "out_of_memory": out_of_memory,
    "throughput": engine_throughput,
}


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--out", type=Path, required=True, help="folder for what is found")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the code")
    parser.add_argument("--seconds", type=float, default=120.0, help="time for measurements")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    given = parser.parse_args()
    hardware = choose_hardware(dict.fromkeys(("device", "dtype", "attention"), "auto"))
    if hardware.device == "cpu":
        if not given.tiny:
            parser.error("no CUDA device here; --tiny runs on the CPU")
        torch.set_num_threads(1)
    setting = Setting(given.out, given.tiny, given.seconds, given.models, hardware)
    record = Record(given.out / f"{given.step}.json", given.step)
    STEPS[given.step](setting, record)
    record.finish()


if __name__ == "__main__":
    main()
