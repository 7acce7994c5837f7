"""`decoding.from_checkpoint`: a model is sampled as its checkpoint's own settings say."""

import json
import shutil
from pathlib import Path

import pytest
from generation_runs import Echo
from huggingface_hub import constants
from local_hub import LocalHub, connect, serving
from noise import noise_file
from transformers import GenerationConfig

from imagenet_think.inference import checkpoints, seeding
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import Request
from imagenet_think.inference.engines.transformers_engine import TransformersEngine
from imagenet_think.inference.fingerprint import response_settings, settings_digest
from imagenet_think.inference.journal import read_lines
from imagenet_think.inference.sampling_settings import FILE, published, resolved
from imagenet_think.run import configuration

NEAR_GREEDY = {"do_sample": True, "temperature": 0.1, "top_k": 1, "top_p": 0.001}
# By case: what the file holds, and the temperature, top_p, top_k and penalty that follow.
FILES = {
    "empty": ({}, (0.0, 1.0, 0, 1.0)),
    "greedy": ({"do_sample": False, "temperature": 0.7, "top_k": 9}, (0.0, 1.0, 0, 1.0)),
    "greedy, with penalty": ({"repetition_penalty": 1.3}, (0.0, 1.0, 0, 1.3)),
    "sampled as transformers does by default": ({"do_sample": True}, (1.0, 1.0, 50, 1.0)),
    "null is left out": ({"do_sample": True, "top_k": None}, (1.0, 1.0, 50, 1.0)),
    "near-greedy": (NEAR_GREEDY | {"repetition_penalty": 1.05}, (0.1, 0.001, 1, 1.05)),
    "settings without effect": (
        {"do_sample": True, "top_k": 0, "top_p": 1, "num_beams": 1, "typical_p": 1.0, "min_p": 0.0}
        | {"bad_words_ids": [], "no_repeat_ngram_size": 0, "max_length": 20, "pad_token_id": 3},
        (1.0, 1, 0, 1.0),
    ),
}


@pytest.fixture
def checkpoint(tmp_path):
    """A function that writes generation settings, and returns a model that uses them."""

    def write(content, **decoding):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / FILE).write_text(text)
        own = {"max_new_tokens": 8, "from_checkpoint": True} | decoding
        return {"repository": str(tmp_path), "revision": None, "decoding": own}

    return write


@pytest.mark.parametrize("case", FILES)
def test_settings_of_the_checkpoint_are_resolved_by_value(checkpoint, case):
    content, values = FILES[case]
    names = ("temperature", "top_p", "top_k", "repetition_penalty")
    expected = {"max_new_tokens": 8, **dict(zip(names, values, strict=True))}
    assert resolved(checkpoint(content)) == expected
    # What the config names has precedence.
    named = {"top_p": 0.5, "repetition_penalty": 1.2}
    assert resolved(checkpoint(content, **named)) == expected | named


def test_without_the_key_no_file_is_read(tmp_path):
    decoding = {"max_new_tokens": 8, "temperature": 0.3}
    for extra in ({}, {"from_checkpoint": False}):
        model = {"repository": str(tmp_path), "decoding": decoding | extra}
        assert resolved(model) == decoding


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", f"{FILE} is not JSON"),
        ("[]", f"{FILE} holds no JSON object"),
        *(
            ({"do_sample": True, key: value}, f"{FILE} sets {key} to .*: name the sampling")
            for key, value in (
                *(("temperature", bad) for bad in (-1, True, "0.1", [0.1], float("inf"))),
                *(("top_p", bad) for bad in (0, 1.5, float("nan"))),
                *(("top_k", bad) for bad in (-1, 2.5)),
                ("repetition_penalty", 0),
                *(("min_p", 0.1), ("num_beams", 4), ("no_repeat_ngram_size", 3)),
                *(("suppress_tokens", [5]), ("typical_p", 0.9), ("a_setting_to_come", "x")),
            )
        ),
        ({"do_sample": "yes"}, f"{FILE} sets do_sample"),
    ],
)
def test_a_setting_that_cannot_be_applied_is_named(checkpoint, content, message):
    with pytest.raises(ValueError, match=message):
        resolved(checkpoint(content))


def test_a_checkpoint_without_settings_is_named(tmp_path):
    model = {"repository": str(tmp_path), "decoding": {"from_checkpoint": True}}
    with pytest.raises(ValueError, match=rf"{tmp_path} has no {FILE}: name the sampling"):
        resolved(model)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[]"], ids=range(5))
def test_a_damaged_file_of_settings_is_named(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    model = {"repository": str(tmp_path), "decoding": {"from_checkpoint": True}}
    with pytest.raises(ValueError, match=rf"{tmp_path / FILE} (is not JSON|holds no JSON object)"):
        resolved(model)


COMMIT = "0" * 40


class Hub(LocalHub):
    """Has one repository with generation settings, and one without."""

    asked = ()

    def do_HEAD(self):
        self.asked.append(self.path)
        if self.path != f"/owner/name/resolve/{COMMIT}/{FILE}":
            self.answer({}, 404, code="EntryNotFound")
            return
        data = json.dumps(NEAR_GREEDY).encode()
        self.send_response(200)
        for name, value in (("X-Repo-Commit", COMMIT), ("ETag", '"1"'), ("Accept-Ranges", "none")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_GET = do_HEAD  # noqa: N815


def test_settings_on_the_hub_are_fetched_alone_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    model = {"repository": "owner/name", "revision": COMMIT, "decoding": {"from_checkpoint": True}}
    expected = NEAR_GREEDY | {"repetition_penalty": 1.0}
    del expected["do_sample"]
    monkeypatch.setattr(Hub, "asked", [])
    with serving(Hub, monkeypatch):
        template = constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert resolved(model) == expected
        assert {Path(path).name for path in Hub.asked} == {FILE}
        with pytest.raises(ValueError, match=f"^owner/other has no {FILE}: name the sampling"):
            resolved(model | {"repository": "owner/other"})
    # It is in the cache now; without a connection no other is.
    connect(monkeypatch, constants.ENDPOINT, offline=True)
    assert resolved(model) == expected
    with pytest.raises(ValueError, match=f"^owner/third: {FILE} is not in .* cannot be reached"):
        resolved(model | {"repository": "owner/third"})
    with pytest.raises(ValueError, match="no revision: run `snakemake --cores 1 pin`"):
        resolved(model | {"revision": None})


@pytest.mark.parametrize("case", ["greedy, with penalty", "near-greedy"])
def test_tokens_are_those_of_transformers_with_the_same_file(
    tiny_model, tiny_checkpoint, tmp_path, case
):
    family, processor, model = tiny_model("qwen2_5_vl")
    folder = shutil.copytree(tiny_checkpoint("qwen2_5_vl"), tmp_path / "checkpoint")
    own = json.loads((folder / FILE).read_text())
    unset = {"do_sample": None, "temperature": None, "top_k": None}
    content = {k: v for k, v in (own | unset | FILES[case][0]).items() if v is not None}
    (folder / FILE).write_text(json.dumps(content))
    decoding = resolved({"repository": str(folder), "decoding": {"from_checkpoint": True}})
    ends = checkpoints.stop_ids(family, processor, folder)
    engine = TransformersEngine(
        model, processor, decoding=decoding, loop=None, stop_ids=ends, batch_size=2
    )
    for i in range(3):
        messages = first_conversation(noise_file(i, 70, 56), "Describe.", {})
        (found,) = engine.generate([Request("a", messages, 1, 24)])
        inputs = encode(processor, messages)
        ids = model.generate(
            **inputs,
            generation_config=GenerationConfig.from_pretrained(folder),
            max_new_tokens=24,
            eos_token_id=ends,
        )
        assert found.text == processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :])


def test_values_decide_the_fingerprint_and_not_where_they_are_written(checkpoint):
    entry = {"family": "qwen2_5_vl", "output": "think"} | checkpoint(NEAR_GREEDY)
    config = {
        "models": {"a": entry},
        "prompt": "p",
        "prompts": {"p": "Describe."},
        "images": {"preparation": {}},
        "length_policy": {"attempts": 2, "loop": {}},
        "seed": 1,
    }

    def digest(decoding):
        models = {"a": entry | {"decoding": decoding}}
        return settings_digest(response_settings(config | {"models": models}, "a"), ("r", "r"))

    typed = resolved(entry)
    assert not seeding.at_random(typed)  # top_k 1
    assert digest(entry["decoding"]) == digest(typed)
    assert digest(entry["decoding"] | {"temperature": 0.2}) == digest(typed | {"temperature": 0.2})
    assert digest(entry["decoding"]) != digest(typed | {"top_k": 2})


def test_the_values_are_recorded_in_the_journal(run, use):
    use(Echo())
    run()
    journals = sorted((run.folder / "journal").iterdir())
    (record,) = [x for path in journals for x in read_lines(path) if x["kind"] == "run"]
    assert record["decoding"] == run.settings["model"]["decoding"]


def test_a_config_that_defers_to_the_checkpoint_has_no_defaults():
    schema = configuration.schema()
    settings = {"temperature", "top_p", "top_k", "repetition_penalty"}
    for decoding, filled in (
        ({}, settings),
        ({"from_checkpoint": False}, settings),
        ({"from_checkpoint": True}, set()),
        ({"from_checkpoint": True, "top_k": 3}, set()),
    ):
        config = {"models": {"a": {"decoding": dict(decoding)}}}
        configuration._fill(config, schema)
        assert set(config["models"]["a"]["decoding"]) == {*decoding, *filled, "max_new_tokens"}


def test_the_file_is_shown_as_it_is(checkpoint, tmp_path):
    checkpoint({"do_sample": True, "top_p": 0.8, "eos_token_id": 3, "min_p": 0.1, "top_k": None})
    assert published(tmp_path) == {"do_sample": True, "top_p": 0.8, "min_p": 0.1}
