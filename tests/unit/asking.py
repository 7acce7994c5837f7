"""Requests to a played server, and the expected responses."""

from contextlib import closing

import played_server
import pytest
from noise import noise_file

from imagenet_think.inference import checkpoints
from imagenet_think.inference.chat import first_conversation
from imagenet_think.inference.engines import EngineError, Request
from imagenet_think.inference.families import qwen2_5_vl

LOOP = {"longest_period": 16, "repeats": 4, "least_tokens": 32}
MODEL = {"key": "m", "family": "qwen2_5_vl", "decoding": {"max_new_tokens": 64}}
IMAGE = noise_file(0, 80, 70)


class Tiny:
    """The tiny checkpoint that the played server claims to serve."""

    def __init__(self, tiny_checkpoint):
        self.folder = tiny_checkpoint("qwen2_5_vl")
        self.processor = qwen2_5_vl.load_processor(self.folder)
        self.stop_ids = checkpoints.stop_ids(qwen2_5_vl, self.processor, self.folder)


def requests(count=12, word="Describe", limit=64, model=MODEL):
    return [
        Request(str(i), first_conversation(IMAGE, f"{word} {i}.", model), 100 + i, limit)
        for i in range(count)
    ]


def inference(engine, settings, **changes):
    """The `inference` section for a server engine with these settings, and `engines` with it."""
    return {
        "engine": engine,
        "device": "auto",
        "attention": "auto",
        "dtype": "auto",
        "batch_size": 4,
        "workers": 2,
        "engines": {engine: settings},
    } | changes


def load(engine, folder, chosen, model=MODEL, loop=LOOP, processor=None, threads=1):
    """Check the settings and load the engine of a checkpoint's folder."""
    engine.check(chosen)
    return engine.load(
        model,
        loop=loop,
        checkpoint=(str(folder), "digest"),
        processor=(str(processor or folder), "digest"),
        inference=chosen,
        threads=threads,
    )


def answers(engine, asked):
    """Each request's key with the text, finish_reason and number of tokens of its response."""
    for response in engine.generate(iter(asked)):
        yield response.key, (response.text, response.finish_reason, response.completion_tokens)


def answered(engine, asked):
    return dict(answers(engine, asked))


def answered_before_error(engine, asked, message):
    """The responses that came before the engine failed with a message."""
    found = {}
    with closing(engine), pytest.raises(EngineError, match=message):
        found.update(answers(engine, asked))
    return found


def all_expected(tiny, asked):
    """The expected text, finish_reason and number of tokens of each request of a greedy model."""
    found = {}
    for request in asked:
        text, limit = played_server.said(request.messages), request.max_new_tokens
        tokens, reason = played_server.answer(text, None, limit, tiny.stop_ids[0])
        found[request.key] = tiny.processor.tokenizer.decode(tokens), reason, len(tokens)
    return found
