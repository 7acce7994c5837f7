"""Generating one model's responses to the images of a block, by way of the journal."""

import json
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from imagenet_think.core import model_sources
from imagenet_think.core.digests import digest_settings
from imagenet_think.core.logs import progress
from imagenet_think.inference import canary, engines, families, prepared_images
from imagenet_think.inference.conversations import Answer, Policy, converse
from imagenet_think.inference.engines import Engine
from imagenet_think.inference.fingerprint import fingerprint, response_settings, settings_digest
from imagenet_think.inference.journal import Journal, JournalError, adopt
from imagenet_think.inference.locks import LockError
from imagenet_think.inference.seeding import row_seed
from imagenet_think.inference.usage import TOKENS

logger = logging.getLogger("imagenet_think")

COMPUTED_WITH = ("engine", "device", "dtype", "attention", "versions", "flags")
"""Entries that an engine's record may have, and that a canary's verdict depends on."""

Missing = dict[str, tuple[Journal, str]]
"""By image_id: the journal and the fingerprint of a response."""


@dataclass(frozen=True)
class Task:
    """What one model is prompted with, and how its responses are computed.

    Attributes
    ----------
    settings
        From `fingerprint.response_settings`.
    inference, threads
        As in `imagenet_think.inference.engines.Setup`: they do not change the responses.
    canary
        `folder` of the canaries' verdicts, the model's `output` format, and whether the canary is
        `strict` about it; None for no canary.
    """

    settings: Mapping[str, Any]
    inference: Mapping[str, Any]
    threads: int
    canary: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, model: str, params: Any, threads: int) -> "Task":
        """Return the task of a job of `generate_responses` or `generate_pilot`."""
        given = json.loads(params.inference)
        inference, entry = given["inference"], given["models"][model]
        engine = engines.chosen(entry, inference)
        return cls(
            response_settings(json.loads(params.settings), model),
            {**inference, "engine": engine, "engines": given["engines"]},
            threads,
            {
                "folder": params.canary,
                "output": entry["output"],
                "strict": inference["canary"]["broken_formats"] == "stop",
            },
        )

    @property
    def model(self) -> dict:
        """The model's entry in the config, with its `key`."""
        return self.settings["model"]

    @cached_property
    def checkpoint(self) -> tuple[str, str]:
        """Folder or hub id, and revision."""
        return _resolved(self.model)

    @cached_property
    def processor(self) -> tuple[str, str]:
        """As `checkpoint`."""
        processor = self.model.get("processor")
        return _resolved(processor) if processor else self.checkpoint

    @property
    def policy(self) -> Policy:
        """Prompt, number of attempts and seeds."""
        return Policy(
            model=self.model,
            prompt=self.settings["prompt"]["text"],
            attempts=self.settings["length_policy"]["attempts"],
            seed=lambda image_id, *turn: row_seed(
                self.settings["seed"], image_id, self.model["key"], *turn
            ),
        )

    @property
    def digest(self) -> str:
        """Digest of everything that determines a response, except the image."""
        return settings_digest(self.settings, (self.checkpoint[1], self.processor[1]))


def _resolved(entry: Mapping[str, Any]) -> tuple[str, str]:
    return model_sources.resolve(entry["repository"], entry.get("revision"))


def respond(
    task: Task,
    images: Sequence[str],
    journal: str,
    evaluated: str | None = None,
    limit: int | None = None,
) -> dict[str, list[dict]]:
    """Return one model's responses to the images of a block, or to some of them.

    Responses in the journal are taken from there; only the others are generated, in one stream over
    all shards, and journaled one by one. If there are none, no engine is loaded and torch is not
    imported.

    Parameters
    ----------
    task
        The model and its settings.
    images
        Prepared images, one parquet file per shard (schema `IMAGES`). An image that cannot be read,
        or that the model rejects, gets a row with finish_reason `error`.
    journal
        Folder of the model's journals.
    evaluated, limit
        As in `prepared_images.select`.

    Returns
    -------
    dict
        For each shard, rows of schema `RESPONSES` in the order of its images.

    Raises
    ------
    ValueError
        If a hub repository has no revision, or an inference setting is not available here: before
        anything is loaded.
    imagenet_think.inference.locks.LockError
        If another worker is working on one of the shards.
    imagenet_think.inference.canary.CanaryError
        If the model is blind or garbled: before any response is journaled.
    imagenet_think.inference.engines.EngineError
        If the engine cannot continue. What is journaled stays.
    """
    digest = task.digest
    wanted: dict[str, dict[str, str]] = {Path(file).stem: {} for file in images}
    for image_id, source, shard in prepared_images.select(images, evaluated, limit).iter_rows():
        wanted[shard][image_id] = fingerprint(digest, source)
    total = sum(map(len, wanted.values()))
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
        logger.info("%s: %d of %d in the journal", task.model["key"], total - len(missing), total)
        if missing:
            _generate(task, images, missing)
        # A prompt's id is not part of the fingerprint: it may have changed for the same text.
        prompt_id = task.settings["prompt"]["id"]
        return {
            shard: [
                {**(journals[shard].get(image_id, key) or {}), "prompt_id": prompt_id}
                for image_id, key in keys.items()
            ]
            for shard, keys in wanted.items()
        }


def _generate(task: Task, images: Sequence[str], missing: Missing) -> None:
    """Generate what is missing and journal each response, and finally a record of the run."""
    module = engines.get(task.inference["engine"])
    module.check(task.inference)
    run = _Run(task)
    first_journal, _ = next(iter(missing.values()))
    try:
        engine = module.load(
            task.model,
            loop=task.settings["length_policy"]["loop"],
            checkpoint=task.checkpoint,
            processor=task.processor,
            inference=task.inference,
            threads=task.threads,
        )
        with closing(engine):
            run.engine = engine.record
            _prompt_all(task, engine, images, missing, run)
    except BaseException:
        try:  # the hours were spent all the same
            first_journal.append_run(**run.record())
        except (JournalError, LockError, ValueError) as error:
            logger.warning("there is no record of this run: %s", error)
        raise
    first_journal.append_run(**run.record())


def _prompt_all(
    task: Task, engine: Engine, images: Sequence[str], missing: Missing, run: "_Run"
) -> None:
    name = task.model["key"]
    used = _computed_with(engine)
    parts = [f"{part} {value}" for part, value in used.items() if isinstance(value, str)]
    logger.info("%s: %s", name, ", ".join(parts))
    run.notes["canary"] = _run_canary(task, engine, images)
    run.notes["ready_seconds"] = run.seconds()
    run.notes["ready_statistics"] = dict(engine.record.get("statistics", {}))
    answers = progress(
        converse(engine.generate, prepared_images.stream(images, missing), task.policy),
        len(missing),
        f"responses of {name}",
        tokens=lambda answer: answer.spent["completion_tokens"],
        generated=lambda: engine.record.get("statistics", {}).get("decode_tokens"),
        failure=_failure,
    )
    with closing(answers):  # before the engine is closed
        for answer in answers:
            journal, key = missing[answer.response.key]
            row = _row(task, answer, key, engine)
            journal.append_response(row, run=run.name, at=run.seconds(), spent=answer.spent)
            run.count(answer)


class _Run:
    """The record of a run for the journal."""

    def __init__(self, task: Task):
        self.began = time.monotonic()
        host, start = socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds")
        self.name = f"{start} {host} {os.getpid()}"
        self.notes: dict[str, Any] = {
            "model": task.model["key"],
            "settings": task.digest,
            "decoding": task.model["decoding"],
            "host": host,
            "start": start,
            "engine": task.inference["engine"],
            "batch_size": task.inference["batch_size"],
            "threads": task.threads,
        }
        self.engine: Mapping[str, Any] = {}  # the engine's own record, which may grow
        self.kept, self.spent, self.reasons = Counter[str](), Counter[str](), Counter[str]()

    def seconds(self) -> float:
        """Return the time since the run began."""
        return round(time.monotonic() - self.began, 3)

    def count(self, answer: Answer) -> None:
        """Count a response that was journaled."""
        self.kept.update({name: getattr(answer.response, name) for name in TOKENS})
        self.spent.update(answer.spent)
        self.reasons[answer.response.finish_reason] += 1

    def record(self) -> dict[str, Any]:
        """Return the record so far.

        Its tokens are those of the responses; `spent` includes dropped attempts. Requests in flight
        when a run failed are in neither.
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


def _failure(answer: Answer) -> str | None:
    reason = answer.response.finish_reason
    return None if reason == "stop" else reason


def _computed_with(engine: Engine) -> dict[str, Any]:
    # Not those that it lacks: verdicts of engines without flags stay valid.
    return {name: engine.record[name] for name in COMPUTED_WITH if name in engine.record}


def _row(task: Task, answer: Answer, key: str, engine: Engine) -> dict:
    response = answer.response
    return {
        "image_id": response.key,
        "model": task.model["key"],
        "revision": task.checkpoint[1],
        "prompt_id": task.settings["prompt"]["id"],
        "text": response.text,
        "finish_reason": response.finish_reason,
        "rounds": answer.rounds,
        "forced": answer.forced,
        **{name: getattr(response, name) for name in TOKENS},
        "attempt": answer.attempt,
        "seed": answer.seed,
        "engine": engine.record["engine"],
        "attention": engine.record.get("computation") or engine.record.get("attention"),
        "fingerprint": key,
        "error": response.error,
    }


def _run_canary(task: Task, engine: Engine, images: Sequence[str]) -> dict | None:
    """Run the canary; return what it spent, or None if it generated nothing."""
    if task.canary is None:
        return None
    shown = prepared_images.varied(images, canary.IMAGES)
    if not shown:
        logger.warning("%s: no image can be read, so there is no canary", task.model["key"])
        return None
    family = families.get(task.model["family"])
    path, revision = task.processor
    start = time.monotonic()
    spent = canary.require_sight(
        engine,
        shown,
        task.policy,
        processor=family.load_processor(path, task.model.get("image"), revision=revision),
        output_format=task.canary["output"],
        digest=digest_settings(
            {
                "settings": task.digest,
                "output": task.canary["output"],
                **_computed_with(engine),
            }
        ),
        folder=task.canary["folder"],
        strict=task.canary["strict"],
    )
    return spent and {"seconds": round(time.monotonic() - start, 3), **spent}
