"""Runs of a tiny model on a few images, and an engine that needs no model."""

import hashlib
from itertools import islice
from pathlib import Path

import polars as pl
from noise import noise_file

from generate_pilot import generate_pilot
from generate_responses import generate_responses
from imagenet_think.core.schemas import IMAGES
from imagenet_think.inference.engines import Response
from imagenet_think.inference.generation import Task
from imagenet_think.inference.journal import read_lines

INFERENCE = {
    "engine": "transformers",
    "device": "cpu",
    "attention": "auto",
    "dtype": "auto",
    "batch_size": 2,
    "cached_tokens": None,
    "workers": 1,
    "engines": {},
}
LOOP = {"longest_period": 256, "repeats": 4, "least_tokens": 96}
GREEDY = {"max_new_tokens": 6, "temperature": 0.0}


def write_shard(path, pictures, group=128):
    """Write prepared images, (image_id, bytes), as a shard."""
    rows = [
        {
            "image_id": name,
            "wnid": "n01",
            "image": {"bytes": data, "path": f"{name}.png"},
            "sha256": hashlib.sha256(data).hexdigest(),
            "source_sha256": hashlib.sha256(name.encode()).hexdigest(),
        }
        for name, data in pictures
    ]
    pl.DataFrame(rows, schema=IMAGES).write_parquet(path, row_group_size=group)
    return str(path)


def write_shards(folder):
    """Write two shards of three images each; the bytes of `b` are cut off."""
    pictures = {name: noise_file(ord(name), 70, 50 + 5 * (ord(name) % 4)) for name in "abcdef"}
    pictures["b"] = pictures["b"][:300]
    for shard, names in (("00", "cab"), ("01", "fde")):
        write_shard(folder / f"{shard}.parquet", [(n, pictures[n]) for n in names], group=2)
    return folder


class Run:
    """A run in its own folder."""

    def __init__(self, folder, shards, checkpoint, **changes):
        self.folder = folder
        self.images = [str(shards / "00.parquet"), str(shards / "01.parquet")]
        model = {
            "key": "tiny",
            "family": "qwen2_5_vl",
            "repository": str(checkpoint),
            "decoding": GREEDY,
        }
        self.settings = {
            "model": model | changes,
            "prompt": {"id": "short", "text": "Describe."},
            "preparation": {"longest_side": 320},
            "length_policy": {"attempts": 3, "loop": LOOP},
            "seed": 1,
        }
        self.canary = self.evaluated = None

    def evaluate(self, *images):
        """Restrict the run to some images."""
        self.evaluated = str(self.folder.with_suffix(".parquet"))
        pl.DataFrame({"image_id": images}).write_parquet(self.evaluated)

    def add_canary(self, strict=False):
        self.canary = {"folder": str(self.folder / "canary"), "output": "think", "strict": strict}

    def task(self, **inference):
        """Return the arguments of a task; they can be written as JSON."""
        return {
            "settings": self.settings,
            "inference": INFERENCE | inference,
            "threads": 1,
            "canary": self.canary,
        }

    @property
    def files(self):
        return {
            "images": self.images,
            "journal": str(self.folder / "journal"),
            "evaluated": self.evaluated,
        }

    def __call__(self, **inference):
        generate_responses(Task(**self.task(**inference)), responses=self.outputs, **self.files)
        return pl.concat([pl.read_parquet(out) for out in self.outputs])

    def pilot(self, count):
        out = self.folder / "pilot.parquet"
        generate_pilot(Task(**self.task()), responses=out, count=count, **self.files)
        return pl.read_parquet(out)

    @property
    def outputs(self):
        return [self.folder / "responses" / Path(file).name for file in self.images]

    @property
    def bytes(self):
        return [out.read_bytes() for out in self.outputs]

    @property
    def journal(self):
        files = sorted((self.folder / "journal").glob("*.jsonl"))
        return [line for file in files for line in read_lines(file)]

    @property
    def journaled(self):
        return [line["row"]["image_id"] for line in self.journal if line["kind"] == "response"]

    @property
    def record(self):
        (record,) = [line for line in self.journal if line["kind"] == "run"]
        return record

    @property
    def locks(self):
        return list((self.folder / "journal").glob("*.lock*"))


class Echo:
    """A fake engine that responds in batches, last request first; it also replaces its module.

    `say` returns text and finish reason, from the image's digest and the request.
    """

    def __init__(self, say=None, ends=None, batch=2):
        self.say = say or (lambda image, request: (f"<think>{image[:9]}</think>seen", "stop"))
        self.ends = ends  # number of responses after which it fails, and how
        self.requests, self.batches, self.batch = [], [], batch
        self.closed, self.loads, self.checks = 0, [], 0
        self.record = {"engine": "echo", "device": "cpu", "dtype": "float32", "attention": "none"}
        self.record["restarts"] = 0

    def check(self, inference):
        self.checks += 1

    def load(self, model, **given):
        self.loads.append((model, given))
        return self

    def generate(self, requests):
        requests, done = iter(requests), 0
        while batch := list(islice(requests, self.batch)):
            self.requests += batch
            self.batches.append([request.key for request in batch])
            self.record["restarts"] += 1
            for request in reversed(batch):
                if self.ends and done == self.ends[0]:
                    raise self.ends[1]
                done += 1
                *_, image = (
                    part["image"]
                    for message in request.messages
                    for part in message["content"]
                    if "image" in part
                )
                text, reason = self.say(hashlib.sha256(image).hexdigest(), request)
                if reason == "error":
                    yield Response(request.key, None, reason, error=text)
                else:
                    yield Response(request.key, text, reason, 10, 4, 3)

    def close(self):
        self.closed += 1

    @property
    def keys(self):
        """The keys of its requests, in their order."""
        return [request.key for request in self.requests]
