"""Benchmark of generation on an NVIDIA GPU, at full size, without any download.

Run as `python tests/gpu/throughput.py [--out FILE.json]` on a machine with a CUDA device of 80 GB
or more; it takes less than ten minutes, whatever is slow (`--seconds`, plus at most one minute).
`--tiny` runs the same code with tiny shapes, also on the CPU. There a measurement ends after a
number of decoding steps, not after a time, so that it succeeds on a machine of any speed.

GLM-4.1V, Kimi-VL and Qwen2.5-VL-7B are built in their published shapes with random weights
(`imagenet_think.inference.checkpoint_specs`): what they say means nothing, and its length is
forced. Lengths are drawn log-normally (sigma 1 on the log scale, cut at 8,192) with the paper's
mean per response: Table 1 has 1,542 tokens per sample, 0.386 billion in all, and a sample is two
responses. Images are 500 x 375. The tokenizer has one token per byte, so a short text replaces the
prompt. Decoding is that of `config/config.yaml` in flight, greedy for transformers' `generate`.

- in flight: the pipeline's engine; steady state, without the first third of its time
- in flight, no graphs: the same with every kernel launched by itself
- static batches: transformers' `generate` on left-padded batches, which wait for their longest row.
  Cut short by the clock, it gives the time of a step and of the prompts; the share of useful tokens
  follows from the drawn lengths. Steps get slower as rows grow, so this flatters it.
- one by one: the same with one row

Share of the bandwidth: the bytes that a step has to read (weights of the language model; cached
tokens) over its time, as a share of what a copy on the same device moves, measured just before. Of
a mixture of experts those weights count that so many rows choose on average if all experts are
chosen alike. GPU hours are for as many responses as the paper has images, and follow from the mean
prompt and response and the measured speeds.

Each model is measured in a process of its own, and after an error the rest goes on in a new one.
"""

import argparse
import datetime
import io
import itertools
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import numpy as np
import torch
import transformers
import yaml
from PIL import Image

from imagenet_think.inference import checkpoint_specs, families, small_models
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import Request
from imagenet_think.inference.engines.hardware import Hardware, choose_hardware, device_name
from imagenet_think.inference.engines.transformers_engine import TransformersEngine, collate

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
REPORTED = yaml.safe_load((ROOT / "resources" / "reported.yaml").read_text(encoding="utf-8"))
PAPER = next(row for row in REPORTED["table1"] if row["dataset"] == "ImageNet-Think")
TEACHERS = CONFIG["teachers"]
MEAN = PAPER["mean"] / len(TEACHERS)
SIGMA, LONGEST = 1.0, 8192
SIZE = (500, 375)

# Key of the config, and what is printed. The fine-tunes of Qwen2.5-VL-7B have one shape.
MODELS = {"glm-4.1v": "GLM-4.1V-9B", "kimi-vl": "Kimi-VL-A3B", "r1-onevision": "Qwen2.5-VL-7B"}
STAGES = ("in flight", "static batches", "one by one", "in flight, no graphs")
PROMPT = "Please analyze this image step by step, and conclude."
NO_TOKEN = 10**9  # no response ends before its length
GRACE = 60  # seconds that a process may take beyond its time before it is ended
TINY_STEPS = 9  # decoding steps of a measurement with tiny shapes


def drawn_lengths(count: int, mean: float, longest: int, seed: int) -> np.ndarray:
    """Return lengths (count,) of responses: log-normal, cut at `longest`, with the given mean."""
    draws = np.random.default_rng(seed).standard_normal(100_000)
    low, high = 0.0, float(np.log(longest))
    while high - low > 1e-6:  # the median that gives the mean, on the log scale
        middle = (low + high) / 2
        above = np.exp(middle + SIGMA * draws).clip(1, longest).mean() > mean
        low, high = (low, middle) if above else (middle, high)
    more = np.random.default_rng([seed, 1]).standard_normal(count)
    return np.exp(low + SIGMA * more).clip(1, longest).round().astype(int)


def drawn_picture(seed: int, size: tuple[int, int] = SIZE) -> bytes:
    """Return a JPEG file of this width and height: blurred patches of colour."""
    patches = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def copy_bandwidth(device: str, size: int) -> float:
    """Return the bytes a second that a copy on the device reads and writes."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        synchronize(device)
        start = time.perf_counter()
        for _ in range(4):
            target.copy_(source)
        synchronize(device)
        times.append((time.perf_counter() - start) / 4)
    return 2 * size / min(times)


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def read_bytes(model, rows: float) -> float:
    """Return the bytes of weights that a decoding step of so many rows has to read."""
    text = model.config.get_text_config()
    per_token = getattr(text, "num_experts_per_tok", None)
    if per_token:
        experts = text.n_routed_experts
        chosen = 1 - (1 - per_token / experts) ** rows
    total = 0.0
    parts = {"": model.lm_head, "language_model.": model.model.language_model}
    for part in parts.values():
        for name, weight in part.named_parameters():
            if name == "embed_tokens.weight":
                continue  # a row a token
            routed = ".experts." in name and per_token
            total += weight.numel() * weight.element_size() * (chosen if routed else 1.0)
    return total


class Clock(transformers.StoppingCriteria):
    """Records when each token was generated, and ends `generate` at its bound.

    The bound is a number of decoding steps where one is given, and a moment otherwise.
    """

    def __init__(self, device: str, end: float, steps: int | None):
        self.device, self.end, self.steps = device, end, steps
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        """Return for each row whether to stop."""
        synchronize(self.device)
        self.times.append(time.perf_counter())
        over = len(self.times) > self.steps if self.steps else self.times[-1] > self.end
        over = over and len(self.times) > 2
        return torch.full((len(input_ids),), over, dtype=torch.bool, device=input_ids.device)


def built(settings: dict, hardware: Hardware, tiny: bool) -> tuple:
    """Return a model with random weights and its processor, in published or in tiny shapes."""
    family, image = settings["family"], settings.get("image")
    device, dtype, attention = hardware.device, hardware.torch_dtype, hardware.attention
    if not tiny:
        model = checkpoint_specs.random_model(family, device, dtype, attention=attention)
        return model, checkpoint_specs.processor(family, image)
    loaders = families.get(family)
    with tempfile.TemporaryDirectory() as folder:
        small_models.build(family, Path(folder), small_models.TINY)
        model = loaders.load_model(folder, dtype=dtype, attention=attention, device=device)
        return model, loaders.load_processor(folder, image)


class Bench:
    """One model and what is asked of it; its methods measure one way of generation each."""

    def __init__(self, key: str, options: dict):
        hardware = choose_hardware(dict.fromkeys(("device", "dtype", "attention"), "auto"))
        torch.set_num_threads(1)
        self.device, self.options = hardware.device, options
        settings = CONFIG["models"][key]
        self.bandwidth = copy_bandwidth(self.device, 2**31 if self.device == "cuda" else 2**26)
        start = time.perf_counter()
        self.model, self.processor = built(settings, hardware, options["tiny"])
        synchronize(self.device)
        self.built = time.perf_counter() - start
        self.decoding = settings["decoding"]
        plain = {name: settings[name] for name in ("system",) if name in settings}
        self.conversations = [
            first_conversation(drawn_picture(seed), PROMPT, plain) for seed in range(32)
        ]
        self.cached = checkpoint_specs.cached_bytes(self.model.config, hardware.torch_dtype)

    def requests(self, seed: int) -> Iterator[Request]:
        """Yield requests without end."""
        mean, longest = self.options["mean"], self.options["longest"]
        for block in itertools.count():
            lengths = drawn_lengths(1024, mean, longest, seed + block)
            for i, length in enumerate(lengths.tolist()):
                number = 1024 * block + i
                yield Request(
                    key=str(number),
                    messages=self.conversations[number % len(self.conversations)],
                    seed=number,
                    max_new_tokens=length,
                )

    def in_flight(self, seconds: float, graphs: bool = True) -> dict:
        """The pipeline's engine, for this many seconds, or as many steps as the options say.

        The first third is not measured. At least one step is: where the time was too short for
        one, the measurement goes on.
        """
        engine = TransformersEngine(
            self.model,
            self.processor,
            decoding=self.decoding,
            loop=None,
            stop_ids=[],
            batch_size=self.options["rows"],
            workers=4 if self.device == "cuda" else 1,
        )
        if not graphs:
            engine.decoder.captures = False
        start = time.perf_counter()
        wanted, finished, warm = self.options["steps"], 0, None
        answers = engine.generate(self.requests(0))
        for response in answers:
            if response.error:
                raise RuntimeError(response.error)
            finished, now, steps = finished + 1, time.perf_counter(), engine.statistics["steps"]
            spent = steps / wanted if wanted else (now - start) / seconds
            if warm is None:
                if spent > 1 / 3:
                    warm = now, dict(engine.statistics)
            elif spent > 1 and steps > warm[1]["steps"]:
                break
        used = {key: value - warm[1][key] for key, value in engine.statistics.items()}
        wall = time.perf_counter() - warm[0]
        found = {
            "rows": engine.bound,
            "attention": engine.record["attention"],
            "store": engine.decoder.store.name,
            "graphs": len(engine.decoder.graphs) if engine.decoder.captures else None,
            "put_back": used["put_back"],
            "responses": finished,
            "measured_seconds": wall,
        }
        answers.close()
        engine.close()
        busy = used["prefill_seconds"] + used["decode_seconds"]
        rows = used["row_steps"] / used["steps"]
        return found | self.figures(
            steps=used["steps"],
            step_seconds=used["decode_seconds"] / used["steps"],
            rows=rows,
            useful=rows,
            step_tokens=used["step_cache_tokens"] / used["steps"],
            row_use=used["row_steps"] / used["places"],
            prefill_tokens=used["prefill_tokens"],
            prefill_seconds=used["prefill_seconds"],
            prompt=encode(self.processor, self.conversations[0])["input_ids"].shape[1],
            waiting=wall / busy,
        )

    def in_batches(self, seconds: float, rows: int) -> dict:
        """transformers' own `generate` on batches; bounded as in `in_flight`."""
        start, wanted = time.perf_counter(), self.options["steps"]
        end, requests = start + seconds, self.requests(0)
        prefill = decode = 0.0
        steps = prompts = read = cut = batches = 0
        while not steps or (steps < wanted if wanted else time.perf_counter() < end):
            batch = list(itertools.islice(requests, rows))
            longest = max(request.max_new_tokens for request in batch)
            encoded = [encode(self.processor, request.messages) for request in batch]
            inputs = collate(encoded, self.model.generation_config.pad_token_id)
            inputs = {key: value.to(self.device) for key, value in inputs.items()}
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
            clock = Clock(self.device, end, wanted)
            synchronize(self.device)
            begin = time.perf_counter()
            self.model.generate(
                **inputs,
                max_new_tokens=max(3, longest),
                do_sample=False,
                eos_token_id=NO_TOKEN,
                stopping_criteria=transformers.StoppingCriteriaList([clock]),
            )
            done = len(clock.times) - 1
            length = int(inputs["attention_mask"].sum())
            prefill += clock.times[0] - begin
            decode += clock.times[-1] - clock.times[0]
            steps, prompts, batches = steps + done, prompts + length, batches + 1
            read += done * length + rows * done * (done + 1) // 2
            cut += done + 1 < longest
        return {
            "rows": rows,
            "attention": self.model.config.get_text_config()._attn_implementation,
            "responses": batches * rows - cut * rows,
            "cut": f"cut after {done + 1} of {longest} tokens" if cut else "",
            "measured_seconds": time.perf_counter() - start,
        } | self.figures(
            steps=steps,
            step_seconds=decode / steps,
            rows=rows,
            useful=rows * self.static_use(rows),
            step_tokens=read / steps,
            row_use=self.static_use(rows),
            prefill_tokens=prompts,
            prefill_seconds=prefill,
            prompt=prompts / (batches * rows),
            waiting=1.0,
        )

    def static_use(self, rows: int, batches: int = 400) -> float:
        """Return useful tokens over places where drawn batches wait for their longest row."""
        drawn = drawn_lengths(batches * rows, self.options["mean"], self.options["longest"], 7)
        drawn = drawn.reshape(batches, rows)
        return float(drawn.sum() / (rows * drawn.max(1).sum()))

    def figures(
        self,
        *,
        steps: int,
        step_seconds: float,
        rows: float,
        useful: float,
        step_tokens: float,
        row_use: float,
        prefill_tokens: int,
        prefill_seconds: float,
        prompt: float,
        waiting: float,
    ) -> dict:
        """Return what follows from the measured times.

        `useful`: tokens a step that stand in a response; `step_tokens`: cached tokens a step reads;
        `prompt`: tokens of one; `waiting`: time in all over the time of prompts and steps.
        """
        weights, cache = read_bytes(self.model, rows), step_tokens * self.cached
        response = waiting * (
            prompt * prefill_seconds / prefill_tokens + self.options["mean"] * step_seconds / useful
        )
        return {
            "steps": steps,
            "prefill_tokens_a_second": prefill_tokens / prefill_seconds,
            "decode_tokens_a_second": useful / step_seconds,
            "step_milliseconds": 1000 * step_seconds,
            "row_use": row_use,
            "weights_read_a_step": weights,
            "cache_read_a_step": cache,
            "share_of_bandwidth": (weights + cache) / step_seconds / self.bandwidth,
            "waiting": waiting,
            "tokens_a_second": self.options["mean"] / response,
            "gpu_hours": PAPER["images"] * response / 3600,
        }

    def stage(self, name: str, seconds: float) -> dict:
        """Measure one of `STAGES`."""
        ways: dict[str, Callable[[], dict]] = {
            "in flight": lambda: self.in_flight(seconds),
            "in flight, no graphs": lambda: self.in_flight(seconds, graphs=False),
            "static batches": lambda: self.in_batches(seconds, self.options["static_rows"]),
            "one by one": lambda: self.in_batches(seconds, 1),
        }
        with torch.inference_mode():
            found = ways[name]()
        if self.device == "cuda":
            found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.empty_cache()
        return found


def measure(answer: Connection, key: str, stages: list[str], end: float, options: dict) -> None:
    """Measure stages of a model until one fails; send the machine, then each row as it is there."""
    logging.basicConfig()
    logging.getLogger("imagenet_think").setLevel(logging.INFO)  # the kind of cache, and why
    stage = stages[0]
    try:
        bench = Bench(key, options)
        answer.send(("machine", machine(bench)))
        for stage in stages:
            # Half of what is left; the last one does not take it all, for it ends a little late.
            share = 0.9 if stage == stages[-1] else 0.5
            found = bench.stage(stage, max(3.0, share * (end - time.time())))
            answer.send(("row", {"model": MODELS[key], "stage": stage, **found}))
    except Exception as error:
        traceback.print_exc()
        answer.send(("row", failed(key, stage, f"{type(error).__name__}: {error}")))


def failed(key: str, stage: str, error: str) -> dict:
    """Return the row of a stage that did not come to its end."""
    return {"model": MODELS[key], "stage": stage, "error": error}


def machine(bench: Bench) -> dict:
    """Return with what was measured."""
    cuda = bench.device == "cuda"
    return {
        "device": device_name(bench.device),
        "memory_gib": torch.cuda.get_device_properties(0).total_memory / 2**30 if cuda else None,
        "dtype": str(bench.model.dtype).removeprefix("torch."),
        "copy_bandwidth": bench.bandwidth,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "transformers": transformers.__version__,
        "flash_attn": transformers.utils.is_flash_attn_2_available(),
        "build_seconds": bench.built,
        "parameters": sum(weight.numel() for weight in bench.model.parameters()),
    }


def measured_apart(key: str, stages: list[str], end: float, options: dict) -> Iterator[tuple]:
    """Yield what processes of their own send about a model, until every stage has a row."""
    context, waiting = multiprocessing.get_context("spawn"), list(stages)
    while waiting:
        before = waiting
        answer, other = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(other, key, waiting, end, options))
        process.start()
        other.close()
        try:
            while answer.poll(max(1.0, end + GRACE - time.time())):
                kind, found = answer.recv()
                yield kind, found
                if kind == "row":
                    waiting = waiting[waiting.index(found["stage"]) + 1 :]
            error = f"did not end within {GRACE} seconds of its time"
        except EOFError:
            process.join()
            error = f"the process ended with {process.exitcode}"
        process.kill()
        process.join()
        # After an error of Python's the row of that stage has come, and the process ended well.
        if waiting and (process.exitcode or waiting == before):
            yield "row", failed(key, waiting[0], error)
            waiting = waiting[1:]


def measured(
    keys: list[str], stages: list[str], end: float, options: dict
) -> Iterator[tuple[str, str, dict]]:
    """Yield `machine` or `row`, a model's key and what was found, of one model after the other."""
    for number, key in enumerate(keys):
        now = time.time()
        share = now + (end - now) / (len(keys) - number)
        for kind, found in measured_apart(key, stages, share, options):
            yield kind, key, found


def chosen_options(tiny: bool, rows: int | None = None, static_rows: int | None = None) -> dict:
    """Return what all models are measured with: sizes of batches, lengths, and a bound on steps."""
    return {
        "tiny": tiny,
        "rows": rows or (8 if tiny else 256),
        "static_rows": static_rows or (8 if tiny else 64),
        "mean": 12.0 if tiny else MEAN,
        "longest": 48 if tiny else LONGEST,
        "steps": TINY_STEPS if tiny else None,
    }


def report(machines: dict[str, dict], rows: list[dict], settings: dict) -> str:
    """Return the figures as Markdown."""
    some = next(iter(machines.values()), {})
    bandwidths = ", ".join(f"{m['copy_bandwidth'] / 1e9:,.0f}" for m in machines.values())
    lines = [
        f"{settings['date']}: {some.get('device')}, {some.get('dtype')}, torch {some.get('torch')} "
        f"(CUDA {some.get('cuda')}), transformers {some.get('transformers')}, flash-attn "
        f"{'installed' if some.get('flash_attn') else 'not installed'}; a copy on the device moves "
        f"{bandwidths} GB a second (for each model).",
        "",
        f"Responses of {settings['mean']:.0f} tokens on average, {settings['longest']:,} at most"
        + ("; **tiny shapes: the figures say nothing**." if settings["tiny"] else "."),
        "",
        "| model | way | rows | prefill tokens/s | decode tokens/s | step, ms | row use "
        "| of bandwidth | all tokens/s | GPU hours | remarks |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --- |",
    ]
    for row in rows:
        head = f"| {row['model']} | {row['stage']} "
        if "error" in row:
            lines.append(head + "| " * 8 + f"| **failed**: {one_line(row['error'])} |")
            continue
        lines.append(
            head + f"| {row['rows']} | {row['prefill_tokens_a_second']:,.0f} "
            f"| {row['decode_tokens_a_second']:,.0f} | {row['step_milliseconds']:.1f} "
            f"| {row['row_use']:.2f} | {row['share_of_bandwidth']:.1%} "
            f"| {row['tokens_a_second']:,.0f} | {row['gpu_hours']:,.1f} | {remarks(row)} |"
        )
    names = [MODELS[key] for key in TEACHERS]
    found = {
        row["model"]: row["gpu_hours"]
        for row in rows
        if row["stage"] == "in flight" and "gpu_hours" in row
    }
    lines += ["", f"GPU hours are for {PAPER['images']:,} responses of one model."]
    if all(name in found for name in names) and not settings["tiny"]:
        total, count = sum(found[name] for name in names), PAPER["images"] * len(names)
        lines.append(
            f"In flight, {count:,} responses of {' and '.join(names)} take {total:,.1f} GPU hours."
        )
    return "\n".join(lines)


def described() -> dict:
    """Return what is the same in every run, and its date."""
    return {
        "images": list(SIZE),
        "sigma": SIGMA,
        "date": datetime.date.today().isoformat(),
    }


def remarks(row: dict) -> str:
    """Return how a row was measured, in a few words."""
    graphs = row.get("graphs")
    parts = [
        row["attention"],
        f"cache in {row['store']}" if "store" in row else "",
        f"{graphs} CUDA graphs" if graphs else "",
        f"{row['put_back']} rows put back" if row.get("put_back") else "",
        row.get("cut", ""),
        f"{row['steps']:,} steps in {row['measured_seconds']:.0f} s",
    ]
    return ", ".join(part for part in parts if part)


def one_line(text: str) -> str:
    """Return a text that fits into a cell."""
    return " ".join(text.replace("|", "/").split())[:300]


def main() -> None:
    """Measure every model and print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, to try the code")
    parser.add_argument("--seconds", type=float, help="time in all (520; 3600 with --tiny)")
    parser.add_argument("--rows", type=int, help="rows in flight (256; 8 with --tiny)")
    parser.add_argument("--static-rows", type=int, help="rows of a static batch (64; 8)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--stages", nargs="+", choices=STAGES)
    parser.add_argument("--out", type=Path, help="JSON file with all figures")
    given = parser.parse_args()
    begin = time.time()
    cuda = torch.cuda.is_available()
    if not (cuda or given.tiny):
        parser.error("no CUDA device here; --tiny runs on the CPU")
    options = chosen_options(given.tiny, given.rows, given.static_rows)
    seconds = given.seconds or (3600.0 if given.tiny else 520.0)
    stages = given.stages or [stage for stage in STAGES if cuda or "graphs" not in stage]
    settings = {**options, "seconds": seconds, **described()}
    machines: dict[str, dict] = {}
    rows: list[dict] = []
    for kind, key, found in measured(given.models, stages, begin + seconds, options):
        if kind == "machine":
            machines.setdefault(MODELS[key], found)
        else:
            rows.append(found)
            print(f"{found['model']}, {found['stage']}", file=sys.stderr, flush=True)
        if given.out:
            content = {"settings": settings, "machines": machines, "rows": rows}
            given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(report(machines, rows, settings))


if __name__ == "__main__":
    main()
