import io
import json
import logging
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import polars as pl
from PIL import Image
from pyarrow.parquet import ParquetFile

from imagenet_think.core import model_sources
from imagenet_think.core.digests import digest_settings
from imagenet_think.core.files import write_parquet
from imagenet_think.core.logs import log_to, progress
from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference import canary, engines, families
from imagenet_think.inference.conversations import Answer, Policy, converse
from imagenet_think.inference.engines import Engine
from imagenet_think.inference.fingerprint import asked_with, fingerprint, settings_digest
from imagenet_think.inference.journal import Journal, JournalError, adopt
from imagenet_think.inference.locks import LockError
from imagenet_think.inference.seeding import row_seed
from imagenet_think.inference.usage import TOKENS

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

logger = logging.getLogger("imagenet_think")

COMPUTED_WITH = ("engine", "device", "dtype", "attention", "versions")
"""What of an engine's record a canary's verdict holds for."""

Missing = dict[str, tuple[Journal, str]]  # image_id: its journal, its fingerprint


@dataclass(frozen=True)
class Job:
    """What a model is asked and how; `settings`, `inference` and `canary` as in `respond`.

    `checkpoint` and `processor` are (folder or hub id, revision).
    """

    settings: Mapping[str, Any]
    inference: Mapping[str, Any]
    threads: int
    canary: Mapping[str, str] | None
    checkpoint: tuple[str, str]
    processor: tuple[str, str]

    @property
    def model(self) -> dict:
        """The model's entry in the config."""
        return self.settings["model"]

    @property
    def policy(self) -> Policy:
        """What is asked of each image, and how often."""
        return Policy(
            model=self.model,
            prompt=self.settings["prompt"]["text"],
            attempts=self.settings["length_policy"]["attempts"],
            seed=self.seed,
        )

    def seed(self, image_id: str, attempt: int, turn: int) -> int:
        """Return the seed of a request."""
        return row_seed(self.settings["seed"], image_id, self.model["key"], attempt, turn)

    @property
    def digest(self) -> str:
        """The digest of all that decides an answer, but the image."""
        return settings_digest(
            self.model,
            revisions=(self.checkpoint[1], self.processor[1]),
            prompt=self.settings["prompt"]["text"],
            preparation=self.settings["preparation"],
            length_policy=self.settings["length_policy"],
            seed=self.settings["seed"],
        )


@dataclass(frozen=True)
class Responses:
    """What one model said.

    Attributes
    ----------
    rows
        For each shard, rows of schema `RESPONSES` in the order of its images.
    run
        The record of this run in the journal, None where nothing had to be generated.
    """

    rows: dict[str, list[dict]]
    run: dict | None


def generate_responses(
    images: Sequence[str],
    responses: Sequence[str],
    journal: str,
    settings: Mapping[str, Any],
    inference: Mapping[str, Any],
    threads: int,
    canary: Mapping[str, str] | None,
    evaluated: str | None = None,
) -> None:
    """Ask one model about the images of a block and write its responses (section 3.2, item 3).

    Parameters
    ----------
    images, journal, settings, inference, threads, canary, evaluated
        As for `respond`.
    responses
        The files to write, one for each of `images` (schema `RESPONSES`), rows in their order.
    """
    found = respond(images, journal, settings, inference, threads, canary, evaluated)
    for rows, out in zip(found.rows.values(), responses, strict=True):
        write_parquet(pl.DataFrame(rows, schema=RESPONSES), out, RESPONSES)


def respond(
    images: Sequence[str],
    journal: str,
    settings: Mapping[str, Any],
    inference: Mapping[str, Any],
    threads: int,
    canary: Mapping[str, str] | None,
    evaluated: str | None = None,
    limit: int | None = None,
) -> Responses:
    """Ask one model about the images of a block, or some of them, by way of the journal.

    What the journal holds is taken from there; only the rest is generated, in one stream over all
    shards, and journaled row by row. If there is no rest, no engine is loaded and torch is not
    imported. So a pilot that asks about a few (`limit`) leaves as many fewer for the run.

    Parameters
    ----------
    images
        Prepared images, a parquet file a shard (schema `IMAGES`). An image that cannot be read, or
        that the model cannot be asked about, has a row with finish_reason `error`.
    journal
        Folder of the model's journals.
    settings
        `model` (the model's entry in the config, with its `key`), `prompt` (`id` and `text`),
        `preparation` (how images were prepared), `length_policy` and `seed`.
    inference
        The config's section `inference`, and its section `engines` under that name: how it is
        computed, not what.
    threads
        CPU threads for torch.
    canary
        `folder` for the canary's verdict and the model's `output` format
        (`imagenet_think.inference.canary`); None asks without a canary.
    evaluated
        Parquet of schema `EVALUATED`: the images to ask about; None for all.
    limit
        Number of these, spread evenly over the block; None for all.

    Returns
    -------
    Responses
        Rows and, where something was generated, the run's record.

    Raises
    ------
    ValueError
        If a hub repository has no revision, or an inference setting cannot be had: before anything
        is loaded.
    imagenet_think.inference.locks.LockError
        If another worker is at one of the shards.
    imagenet_think.inference.canary.CanaryError
        If the model is blind or garbled: before any row is journaled.
    imagenet_think.inference.engines.EngineError
        If the engine cannot go on. What is journaled stays.
    """
    model = settings["model"]
    checkpoint = _resolved(model)
    processor = _resolved(model["processor"]) if model.get("processor") else checkpoint
    job = Job(settings, inference, threads, canary, checkpoint, processor)
    wanted = _fingerprints(images, job.digest, evaluated, limit)
    total, run = sum(map(len, wanted.values())), None
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
        adopted = adopt({(image_id, key): own for image_id, (own, key) in missing.items()})
        for image_id, _ in adopted:
            del missing[image_id]
        logger.info("%s: %d of %d in the journal", model["key"], total - len(missing), total)
        if missing:
            engine = engines.get(inference["engine"])
            engine.check(inference)
            run = _generate(job, engine, images, missing)
        # A prompt's id is no part of the fingerprint: the same text may have got another one.
        prompt_id = settings["prompt"]["id"]
        rows = {
            shard: [
                journals[shard].get(image_id, key) | {"prompt_id": prompt_id}
                for image_id, key in keys.items()
            ]
            for shard, keys in wanted.items()
        }
    return Responses(rows, run)


def _resolved(entry: Mapping[str, Any]) -> tuple[str, str]:
    return model_sources.resolve(entry["repository"], entry.get("revision"))


def _fingerprints(
    files: Sequence[str], digest: str, evaluated: str | None, limit: int | None
) -> dict[str, dict[str, str]]:
    """Return, for each shard, the fingerprint of each image_id to be asked, in its order."""
    frame = pl.concat(map(_sources, files))
    if evaluated is not None:
        chosen = pl.read_parquet(evaluated, columns=["image_id"])
        frame = frame.join(chosen, on="image_id", how="semi", maintain_order="left")
    count = len(frame) if limit is None else min(limit, len(frame))
    places = [place * len(frame) // count for place in range(count)]
    keys: dict[str, dict[str, str]] = {Path(file).stem: {} for file in files}
    for image_id, source, shard in frame[places].iter_rows():
        keys[shard][image_id] = fingerprint(digest, source)
    return keys


def _sources(file: str) -> pl.DataFrame:
    """Return image_id, source_sha256 and shard of a shard's images."""
    try:
        frame = pl.read_parquet(file, columns=["image_id", "source_sha256"])
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"{file} cannot be read ({error}): delete it, and it is made again"
        ) from error
    return frame.with_columns(shard=pl.lit(Path(file).stem))


def _generate(job: Job, module: Any, images: Sequence[str], missing: Missing) -> dict:
    """Generate what is missing and journal each row; return the run's record, also journaled."""
    run = Run(job)
    first_journal, _ = next(iter(missing.values()))
    try:
        engine = module.load(
            job.model,
            loop=job.settings["length_policy"]["loop"],
            checkpoint=job.checkpoint,
            processor=job.processor,
            inference=job.inference,
            threads=job.threads,
        )
        with closing(engine):
            run.engine = engine.record
            _ask_all(job, engine, images, missing, run)
    except BaseException:
        # Its hours were spent all the same.
        try:
            first_journal.append_run(**run.record())
        except (JournalError, LockError, ValueError) as error:
            logger.warning("there is no record of this run: %s", error)
        raise
    record = run.record()
    first_journal.append_run(**record)
    return record


def _ask_all(job: Job, engine: Engine, images: Sequence[str], missing: Missing, run: "Run") -> None:
    name = job.model["key"]
    found = (
        f"{part} {engine.record[part]}" for part in COMPUTED_WITH[:-1] if engine.record.get(part)
    )
    logger.info("%s: %s", name, ", ".join(found))
    run.notes["canary"] = _ask_canary(job, engine, images)
    run.notes["ready_seconds"] = run.seconds()
    run.notes["ready_statistics"] = dict(engine.record.get("statistics", {}))
    answers = progress(
        converse(engine.generate, _stream(images, missing), job.policy),
        len(missing),
        f"responses of {name}",
        tokens=lambda answer: answer.spent["completion_tokens"],
        generated=lambda: engine.record.get("statistics", {}).get("decode_tokens"),
        failure=lambda answer: _failure(answer.response.finish_reason),
    )
    with closing(answers):  # before the engine is
        for answer in answers:
            journal, key = missing[answer.response.key]
            row = _row(job, answer, key, engine)
            journal.append_response(row, run=run.name, at=run.seconds(), spent=answer.spent)
            run.count(answer)


class Run:
    """What becomes the run's record in the journal."""

    def __init__(self, job: Job):
        self.began = time.monotonic()
        host, start = socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds")
        self.name = f"{start} {host} {os.getpid()}"
        self.notes: dict[str, Any] = {
            "model": job.model["key"],
            "settings": job.digest,
            "host": host,
            "start": start,
            "engine": job.inference["engine"],
            "batch_size": job.inference["batch_size"],
            "threads": job.threads,
        }
        self.engine: Mapping[str, Any] = {}  # the engine's own record, which may grow
        self.kept, self.spent, self.reasons = Counter(), Counter(), Counter()

    def seconds(self) -> float:
        """Return the time since the run began."""
        return round(time.monotonic() - self.began, 3)

    def count(self, answer: Answer) -> None:
        """Count a response that was journaled."""
        self.kept.update({name: getattr(answer.response, name) for name in TOKENS})
        self.spent.update(answer.spent)
        self.reasons[answer.response.finish_reason] += 1

    def record(self) -> dict[str, Any]:
        """Return the record as it stands.

        Its tokens are those of the responses; `spent` has those of dropped attempts too. What was
        in flight when a run failed is in neither.
        """
        return {
            "run": self.name,
            **self.notes,
            **self.engine,
            "seconds": self.seconds(),
            "responses": self.reasons.total(),
            "finish_reasons": dict(sorted(self.reasons.items())),
            **{name: self.kept[name] for name in TOKENS},
            "spent": {name: self.spent[name] for name in TOKENS},
        }


def _failure(finish_reason: str) -> str | None:
    return None if finish_reason == "stop" else finish_reason


def _row(job: Job, answer: Answer, key: str, engine: Engine) -> dict:
    response = answer.response
    return {
        "image_id": response.key,
        "model": job.model["key"],
        "revision": job.checkpoint[1],
        "prompt_id": job.settings["prompt"]["id"],
        "text": response.text,
        "finish_reason": response.finish_reason,
        "rounds": answer.rounds,
        "forced": answer.forced,
        **{name: getattr(response, name) for name in TOKENS},
        "attempt": answer.attempt,
        "seed": answer.seed,
        "engine": engine.record["engine"],
        "attention": engine.record.get("attention"),
        "fingerprint": key,
        "error": response.error,
    }


def _ask_canary(job: Job, engine: Engine, images: Sequence[str]) -> dict | None:
    """Have the canary look at the model; return what it spent, None where it asked nothing."""
    if job.canary is None:
        return None
    shown = _canary_images(images)
    if not shown:
        logger.warning("%s: no image can be read, so there is no canary", job.model["key"])
        return None
    family = families.get(job.model["family"])
    path, revision = job.processor
    start = time.monotonic()
    spent = canary.require_sight(
        engine,
        shown,
        job.policy,
        processor=family.load_processor(path, job.model.get("image"), revision=revision),
        output_format=job.canary["output"],
        digest=digest_settings(
            {
                "settings": job.digest,
                "output": job.canary["output"],
                **{name: engine.record.get(name) for name in COMPUTED_WITH},
            }
        ),
        folder=job.canary["folder"],
    )
    return spent and {"seconds": round(time.monotonic() - start, 3), **spent}


def _canary_images(files: Sequence[str]) -> dict[str, bytes]:
    """Return a few images of the block that can be read, of different classes where there are."""
    frame = pl.scan_parquet(files).select("image_id", "wnid", "sha256").collect()
    candidates = (
        frame.unique("sha256", keep="first", maintain_order=True)
        .with_columns(pl.int_range(pl.len()).over("wnid").alias("place_in_class"))
        .sort("place_in_class", maintain_order=True)["image_id"]
        .head(8 * canary.IMAGES)
        .to_list()
    )
    readable = {name: data for name, data in _stream(files, candidates) if _readable(data)}
    chosen = [name for name in candidates if name in readable][: canary.IMAGES]
    return {name: readable[name] for name in chosen}


def _readable(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as file:
            file.convert("RGB")
    except Exception:  # damaged files raise errors of many kinds
        return False
    return True


def _stream(files: Sequence[str], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield image_id and bytes of the wanted images in the files' order, a row group in memory."""
    for file in files:
        with ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                names = parquet.read_row_group(group, ["image_id"])["image_id"].to_pylist()
                if not any(name in wanted for name in names):
                    continue
                pictures = parquet.read_row_group(group, ["image.bytes"])["image"]
                for name, picture in zip(names, pictures, strict=True):
                    if name in wanted:
                        yield name, picture["bytes"].as_py()


def stop_when_told() -> None:
    """End this process at SIGTERM (Slurm, Snakemake) as at an error: locks and servers are let go.

    A second signal does not disturb that.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        logger.warning("told to stop: what is journaled stays, the rest is for the next run")
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    log_to(snakemake.log[0])
    stop_when_told()
    model, inference = snakemake.wildcards.model, json.loads(snakemake.params.inference)
    generate_responses(
        images=list(snakemake.input.images),
        responses=list(snakemake.output),
        journal=snakemake.params.journal,
        settings=asked_with(json.loads(snakemake.params.settings), model),
        inference={**inference["inference"], "engines": inference["engines"]},
        threads=snakemake.threads,
        canary={
            "folder": snakemake.params.canary,
            "output": inference["models"][model]["output"],
        },
        evaluated=next(iter(snakemake.input.evaluated), None),
    )
