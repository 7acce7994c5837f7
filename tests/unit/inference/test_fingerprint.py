from pathlib import Path

import pytest
import yaml

from imagenet_think.core import model_sources
from imagenet_think.inference.fingerprint import fingerprint, response_settings, settings_digest
from imagenet_think.inference.journal import read_lines
from imagenet_think.run import configuration

MODEL = {
    "key": "glm-4.1v",
    "name": "GLM",
    "family": "glm4v",
    "output": "think_answer",
    "repository": "zai-org/GLM-4.1V-9B-Thinking",
    "revision": "abc",
    "decoding": {"max_new_tokens": 10, "temperature": 0.5},
}
BASE = {
    "model": MODEL,
    "prompt": {"id": "short", "text": "Describe."},
    "preparation": {"longest_side": 1024, "jpeg_quality": 95},
    "length_policy": {
        "attempts": 2,
        "loop": {"longest_period": 256, "repeats": 4, "least_tokens": 256},
    },
    "seed": 1,
}
SECOND = {"second_round": {"first_scale": 0.5, "template": "{image}"}}
CLOSING = {"close_thought": {"text": "</think>", "max_new_tokens": 5}}


def greedy(**decoding):
    return BASE | {"model": MODEL | {"decoding": {"max_new_tokens": 10} | decoding}}


def digest(change=None, base=BASE, revisions=("abc", "abc")):
    return settings_digest(base | (change or {}), revisions)


def policy(**changes):
    return {"length_policy": BASE["length_policy"] | changes}


def test_the_fingerprint_is_stable():
    # A change of this value would have every response of every run generated again.
    assert fingerprint(digest(), "0" * 64) == (
        "9fc1950a2d03d5d6d708e6813a86e6e7956e32ea624ec5c9e9d88d010d5d0668"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": {"id": "short", "text": "Describe!"}},
        {"preparation": {"longest_side": 512, "jpeg_quality": 95}},
        {"seed": 2},
        {"model": MODEL | {"repository": "zai-org/GLM-4.5V"}},
        {"model": MODEL | {"system": "You are helpful."}},
        {"model": MODEL | {"template": "{image} {prompt}"}},
        {"model": MODEL | SECOND},
        {"model": MODEL | {"prefix": "<think>"}},
        {"model": MODEL | CLOSING},
        {"model": MODEL | {"image": {"max_pixels": 100000}}},
        policy(attempts=1),
        policy(loop={"longest_period": 256, "repeats": 4, "least_tokens": 96}),
        {"model": MODEL | {"decoding": {"max_new_tokens": 11, "temperature": 0.5}}},
        {"model": MODEL | {"processor": {"repository": "Qwen/Qwen2.5-VL-7B-Instruct"}}},
    ],
)
def test_settings_that_affect_a_response_change_the_fingerprint(change):
    assert digest(change) != digest()


@pytest.mark.parametrize(
    "model",
    [
        MODEL | {"name": "another"},
        MODEL | {"key": "other"},
        MODEL | {"output": "think"},
        MODEL | dict.fromkeys(["prefix", "close_thought", "system", "image"]),
        dict(reversed(MODEL.items())),
    ],
)
def test_names_parsing_nulls_and_order_do_not_change_the_fingerprint(model):
    assert digest({"model": model}) == digest()


@pytest.mark.parametrize("decoding", [{"temperature": 0.0}, {}, {"temperature": 1.0, "top_k": 1}])
@pytest.mark.parametrize("change", [{"seed": 2}, policy(attempts=3)])
def test_seed_and_attempts_count_only_if_decoding_samples(decoding, change):
    base = greedy(**decoding)
    assert digest(change, base) == digest({}, base)


def test_what_had_no_name_before_keeps_its_fingerprint():
    named = [SECOND["second_round"] | {"scaling": way} for way in ("training", "evaluation")]
    trained, evaluated = ({"model": MODEL | {"second_round": rounds}} for rounds in named)
    assert digest(trained) == digest({"model": MODEL | SECOND}) != digest(evaluated)


def test_loops_count_in_greedy_decoding_too():
    base = greedy(temperature=0.0)
    change = policy(loop={"longest_period": 64, "repeats": 4, "least_tokens": 256})
    assert digest(change, base) != digest({}, base)


@pytest.mark.parametrize("near", [None, {"window": 1920, "phrase": 9, "later_phrase": 60}])
def test_near_repeats_do_not_count(near):
    """They only end what would not end: what is in a journal stays valid with and without them."""
    loop = BASE["length_policy"]["loop"] | {"near_repeats": near}
    assert digest(policy(loop=loop)) == digest()


def test_the_format_counts_if_thinking_may_be_closed_by_force():
    model = MODEL | CLOSING
    one, other = ({"model": model | {"output": output}} for output in ("think", "kimi"))
    assert digest(one) != digest(other)


def test_the_source_image_and_both_revisions_count():
    digests = {digest(revisions=pair) for pair in (("a", "a"), ("a", "b"), ("b", "a"))}
    assert len(digests) == 3
    assert fingerprint(digest(), "0" * 64) != fingerprint(digest(), "1" * 64)


RUNS = [path.parent for path in (Path(__file__).parents[2] / "fixtures/runs").glob("*/run")]


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_settings_of_an_earlier_run_are_the_same_today(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    configuration._fill(config, configuration.schema())
    for key, model in config["models"].items():
        given = response_settings(config, key)
        _, revision = model_sources.resolve(model["repository"], None)
        found = {
            line["settings"]
            for path in (folder / "run" / "journal" / key).iterdir()
            for line in read_lines(path)
            if line["kind"] == "run"
        }
        assert found == {settings_digest(given, (revision, revision))}
