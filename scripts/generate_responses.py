import io
import json
import logging
import os
import platform
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

import polars as pl
from PIL import Image

from imagenet_think import families, repositories
from imagenet_think.chat import first_conversation
from imagenet_think.draws import row_seed
from imagenet_think.engines import Request, Response
from imagenet_think.files import write_parquet
from imagenet_think.fingerprint import fingerprint, settings_digest
from imagenet_think.journal import Journal
from imagenet_think.logs import log_to, progress
from imagenet_think.rounds import Answer, converse
from imagenet_think.schemas import RESPONSES

logger = logging.getLogger("imagenet_think")

ATTEMPT = 1
TOKENS = ("prompt_tokens", "image_tokens", "completion_tokens")
PACKAGES = ("torch", "transformers", "tokenizers", "pillow", "flash-attn")


@dataclass(frozen=True)
class Job:
    """What a model is asked and how.

    `settings` and `inference` are as in `generate_responses`; `checkpoint` and `processor` are
    (folder or hub id, revision).
    """

    settings: dict
    inference: dict
    threads: int
    checkpoint: tuple[str, str]
    processor: tuple[str, str]

    @property
    def model(self) -> dict:
        """The model's entry in the config."""
        return self.settings["model"]

    @property
    def prompt(self) -> dict:
        """The prompt's id and text."""
        return self.settings["prompt"]

    def seed(self, image_id: str, turn: int = 1) -> int:
        """Return the seed of an image's row in a round."""
        return row_seed(self.settings["seed"], image_id, self.model["key"], ATTEMPT, turn)

    def settings_digest(self) -> str:
        """Return the digest of all that decides an answer, but the image."""
        return settings_digest(
            self.model,
            revisions=(self.checkpoint[1], self.processor[1]),
            prompt=self.prompt["text"],
            preparation=self.settings["preparation"],
            seed=self.settings["seed"],
        )


def generate_responses(
    images: list[str],
    responses: list[str],
    journal: str,
    settings: dict,
    inference: dict,
    threads: int,
) -> None:
    """Ask one model about all images of a block and write its responses (section 3.2, item 3).

    What the journal holds is taken from there; only the rest is generated, in one stream over all
    shards. If there is no rest, no model is loaded and torch is not imported.

    Parameters
    ----------
    images
        Prepared images, a parquet file a shard (schema `IMAGES`).
    responses
        The files to write, in the same order (schema `RESPONSES`). Rows stand in the order of the
        images. An image that cannot be read, or that the model cannot be asked about, has a row
        with finish_reason `error`.
    journal
        Folder of the model's journals.
    settings
        `model` (the model's entry in the config, with its `key`), `prompt` (`id` and `text`),
        `preparation` (how images were prepared) and `seed`.
    inference
        `engine`, `device`, `attention`, `dtype`, `batch_size`: how it is computed, not what.
    threads
        CPU threads for torch.

    Raises
    ------
    ValueError
        If a hub repository has no revision, or an inference setting cannot be had.
    """
    model = settings["model"]
    checkpoint = _resolved(model)
    processor = _resolved(model["processor"]) if model.get("processor") else checkpoint
    job = Job(settings, inference, threads, checkpoint, processor)
    digest = job.settings_digest()
    wanted = {Path(file).stem: _fingerprints(file, digest) for file in images}
    with ExitStack() as stack:
        journals = {
            shard: stack.enter_context(Journal(Path(journal) / f"{shard}.jsonl"))
            for shard in wanted
        }
        missing = {
            image_id: (journals[shard], key)
            for shard, keys in wanted.items()
            for image_id, key in keys.items()
            if journals[shard].get(image_id, key) is None
        }
        total = sum(map(len, wanted.values()))
        logger.info("%s: %d of %d in the journal", model["key"], total - len(missing), total)
        if missing:
            _generate(job, images, missing)
        for (shard, keys), out in zip(wanted.items(), responses, strict=True):
            rows = [journals[shard].get(image_id, key) for image_id, key in keys.items()]
            # A prompt's id is no part of the fingerprint: the same text may have got another one.
            rows = [{**row, "prompt_id": job.prompt["id"]} for row in rows]
            write_parquet(pl.DataFrame(rows, schema=RESPONSES), out, RESPONSES)


def _fingerprints(file: str, digest: str) -> dict[str, str]:
    """Return the fingerprint of each image_id of a shard, in its order."""
    frame = pl.read_parquet(file, columns=["image_id", "source_sha256"])
    return {image_id: fingerprint(digest, source) for image_id, source in frame.iter_rows()}


def _resolved(entry: dict) -> tuple[str, str]:
    return repositories.resolve(entry["repository"], entry.get("revision"))


def _generate(job: Job, images: list[str], missing: dict[str, tuple[Journal, str]]) -> None:
    """Generate what is missing (image_id to journal and fingerprint) and journal each row."""
    began, start = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    from imagenet_think.engines import transformers_engine

    if job.inference["engine"] != "transformers":
        raise ValueError(f"inference.engine is {job.inference['engine']!r}; known is transformers")
    hardware = transformers_engine.choose_hardware(job.inference)
    device = transformers_engine.device_name(hardware.device)
    label = f"responses of {job.model['key']}"
    logger.info("%s on %s, %s, %s", label, device, hardware.dtype, hardware.attention)
    run = f"{start} {socket.gethostname()} {os.getpid()}"
    counts = dict.fromkeys(("responses", *TOKENS), 0)
    try:
        for answer in progress(_answers(job, hardware, images, missing), len(missing), label):
            journal, key = missing[answer.response.key]
            row = _row(job, answer, key, hardware.attention)
            journal.append_response(row, run=run, at=round(time.monotonic() - began, 3))
            counts["responses"] += 1
            for name in TOKENS:
                counts[name] += row[name]
    finally:
        # Also when the job fails: its hours were spent.
        journal, _ = next(iter(missing.values()))
        journal.append_run(
            run=run,
            host=socket.gethostname(),
            start=start,
            seconds=round(time.monotonic() - began, 3),
            **counts,
            engine=job.inference["engine"],
            device=device,
            dtype=hardware.dtype,
            attention=hardware.attention,
            batch_size=job.inference["batch_size"],
            threads=job.threads,
            versions=_versions(),
        )


def _row(job: Job, answer: Answer, key: str, attention: str) -> dict:
    response = answer.response
    return {
        "image_id": response.key,
        "model": job.model["key"],
        "revision": job.checkpoint[1],
        "prompt_id": job.prompt["id"],
        "text": response.text,
        "finish_reason": response.finish_reason,
        "rounds": answer.rounds,
        "forced": False,
        "prompt_tokens": response.prompt_tokens,
        "image_tokens": response.image_tokens,
        "completion_tokens": response.completion_tokens,
        "attempt": ATTEMPT,
        "seed": job.seed(response.key),
        "engine": job.inference["engine"],
        "attention": attention,
        "fingerprint": key,
        "error": response.error,
    }


def _answers(job: Job, hardware, images: list[str], missing: dict) -> Iterator[Answer]:
    """Yield an answer for each missing image; the first that can be read loads the model."""
    unreadable: deque[Answer] = deque()

    def requests() -> Iterator[Request]:
        for image_id, data in _images(images, missing):
            try:
                with Image.open(io.BytesIO(data)) as file:
                    image = file.convert("RGB")
            except Exception as error:  # damaged files raise errors of many kinds
                message = f"image cannot be read: {error}"
                unreadable.append(
                    Answer(Response(image_id, None, "error", error=message), rounds=0)
                )
                continue
            messages = first_conversation(image, job.prompt["text"], job.model)
            yield Request(image_id, messages, job.seed(image_id))

    stream = requests()
    first = next(stream, None)
    if first is not None:
        engine = _load_engine(job, hardware)
        second_seed = partial(job.seed, turn=2)
        for answer in converse(engine.generate, chain([first], stream), job.model, second_seed):
            yield answer
            while unreadable:
                yield unreadable.popleft()
    yield from unreadable


def _images(files: list[str], missing: dict) -> Iterator[tuple[str, bytes]]:
    """Yield image_id and bytes of the missing images, holding one shard at a time."""
    for file in files:
        frame = pl.scan_parquet(file).select("image_id", pl.col("image").struct.field("bytes"))
        yield from frame.filter(pl.col("image_id").is_in(list(missing))).collect().iter_rows()


def _load_engine(job: Job, hardware):
    import torch
    import transformers

    from imagenet_think.engines.transformers_engine import TransformersEngine, check_sight

    torch.set_num_threads(job.threads)
    transformers.utils.logging.disable_progress_bar()
    family = families.get(job.model["family"])
    path, revision = job.processor
    processor = family.load_processor(path, job.model.get("image"), revision=revision)
    path, revision = job.checkpoint
    model = family.load_model(
        path,
        dtype=hardware.torch_dtype,
        attention=hardware.attention,
        device=hardware.device,
        revision=revision,
    )
    check_sight(model, processor)
    return TransformersEngine(
        model,
        processor,
        decoding=job.model["decoding"],
        stop_ids=families.stop_ids(family, processor, model),
        batch_size=job.inference["batch_size"],
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    log_to(snakemake.log[0])
    generate_responses(
        images=list(snakemake.input.images),
        responses=list(snakemake.output),
        journal=snakemake.params.journal,
        settings=json.loads(snakemake.params.settings),
        inference=json.loads(snakemake.params.inference),
        threads=snakemake.threads,
    )
