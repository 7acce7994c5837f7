"""Measure how often each miniature names object and colour correctly, on unseen drawings."""

import json
import re
from pathlib import Path
from random import Random

import polars as pl
import torch
import transformers

from imagenet_think.core.files import atomic_path
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import progress
from imagenet_think.core.settings import prompt
from imagenet_think.inference.conversations import Policy, converse
from imagenet_think.inference.engines import transformers_engine
from imagenet_think.miniature.drawings import COLOURS, NAMES, Scene, draw, jpeg, scene_of
from imagenet_think.miniature.reply_templates import object_words
from imagenet_think.parsing import parse


def measure_miniature(
    model: str,
    settings: dict,
    *,
    prompt: str,
    checkpoint: str | Path,
    drawings: int,
    seed: int,
) -> dict[str, object]:
    """Let a checkpoint describe unseen drawings as the pipeline does; count correct answers.

    The object is correct if the answer names it, and no other object that can be drawn, in whole
    words; likewise the colour. With the images swapped between rows, the same answers are compared
    with different scenes: the share that is still correct is chance.

    Parameters
    ----------
    model, settings
        Key and entry of the model in the config.
    prompt
        The run's prompt.
    checkpoint
        Its folder.
    drawings
        How many, all classes in turn.
    seed
        Seed of the drawings, different from that of training and of the run.

    Returns
    -------
    dict
        A row of `accuracy.csv`; shares between 0 and 1.
    """
    wnids = tuple(NAMES)
    scenes = [scene_of(seed, wnids[n % len(wnids)], n) for n in range(drawings)]
    answers = describe(settings, prompt, checkpoint, scenes)
    parsed = [parse(settings["output"], text, reason) for text, reason, _ in answers]
    named = [named_in(part.answer or "") for part in parsed]
    swapped = Random(seed).sample(scenes, k=drawings)
    counts = {}
    for kind, shown in (("", scenes), ("_swapped", swapped)):
        pairs = list(zip(named, shown, strict=True))
        counts[f"object{kind}"] = sum(names == {scene.wnid} for (names, _), scene in pairs)
        counts[f"colour{kind}"] = sum(names == {scene.colour} for (_, names), scene in pairs)
    counts["parsed"] = sum(part.status == "ok" for part in parsed)
    counts["second_rounds"] = sum(rounds == 2 for *_, rounds in answers)
    shares = {name: count / drawings for name, count in counts.items()}
    return {"model": model, "drawings": drawings, **shares}


def describe(
    settings: dict, prompt: str, checkpoint: str | Path, scenes: list[Scene]
) -> list[tuple[str, str, int]]:
    """Return a checkpoint's response to each drawing: text, finish reason, rounds."""
    greedy = settings | {"decoding": settings["decoding"] | {"temperature": 0.0}}
    engine = transformers_engine.load(
        greedy,
        loop=None,
        checkpoint=(str(checkpoint), None),
        processor=(str(checkpoint), None),
        inference={
            "device": "cpu",
            "dtype": "float32",
            "attention": "sdpa",
            "batch_size": 48,
        },
        threads=torch.get_num_threads(),
    )
    images = ((str(number), jpeg(draw(scene))) for number, scene in enumerate(scenes))
    policy = Policy(greedy, prompt, attempts=1, seed=lambda *_: 0)
    answers = progress(converse(engine.generate, images, policy), len(scenes), "answers")
    found = {int(a.response.key): a for a in answers}
    return [
        (found[n].response.text or "", found[n].response.finish_reason, found[n].rounds)
        for n in range(len(scenes))
    ]


def named_in(answer: str) -> tuple[set[str], set[str]]:
    """Return the classes and the colours that an answer names, in whole words."""
    words = set(re.findall(r"[a-z]+", answer.lower()))
    objects = {wnid for word, wnid in object_words().items() if word in words}
    return objects, words & set(COLOURS)


if __name__ == "__main__":
    snakemake = start_job()
    torch.set_num_threads(snakemake.threads)
    transformers.logging.disable_progress_bar()
    settings = json.loads(snakemake.params.settings)
    drawn = json.loads(snakemake.params.drawn)
    measured = [
        measure_miniature(
            folder.name,
            settings["models"][folder.name],
            prompt=prompt(settings),
            checkpoint=folder,
            **drawn,
        )
        for folder in map(Path, snakemake.input)
    ]
    with atomic_path(snakemake.output[0]) as path:
        pl.DataFrame(measured).write_csv(path, float_precision=4)
