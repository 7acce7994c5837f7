import pytest

from imagenet_think.fingerprint import fingerprint, settings_digest

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
    "revisions": ("abc", "abc"),
    "prompt": "Describe.",
    "preparation": {"longest_side": 1024, "jpeg_quality": 95},
    "seed": 1,
}
GREEDY = BASE | {"model": MODEL | {"decoding": {"max_new_tokens": 10, "temperature": 0.0}}}


def test_the_fingerprint_is_stable():
    # A change of this value would have every response of every run generated anew.
    assert fingerprint(settings_digest(**BASE), "0" * 64) == (
        "c8bbaacf99ec20a6c9c58ad08410175274a3a758c518b457d1d8a96d3b51c62c"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"revisions": ("abd", "abc")},
        {"revisions": ("abc", "abd")},
        {"prompt": "Describe!"},
        {"preparation": {"longest_side": 512, "jpeg_quality": 95}},
        {"seed": 2},
        {"model": MODEL | {"repository": "zai-org/GLM-4.5V"}},
        {"model": MODEL | {"system": "You are helpful."}},
        {"model": MODEL | {"template": "{image} {prompt}"}},
        {"model": MODEL | {"second_round": {"first_scale": 0.5, "template": "{image}"}}},
        {"model": MODEL | {"image": {"max_pixels": 100000}}},
        {"model": MODEL | {"decoding": {"max_new_tokens": 11, "temperature": 0.5}}},
        {"model": MODEL | {"processor": {"repository": "Qwen/Qwen2.5-VL-7B-Instruct"}}},
    ],
)
def test_what_decides_an_answer_changes_the_fingerprint(change):
    assert settings_digest(**(BASE | change)) != settings_digest(**BASE)


@pytest.mark.parametrize("change", [{"name": "another"}, {"key": "other"}, {"output": "think"}])
def test_names_and_parsing_do_not(change):
    assert settings_digest(**(BASE | {"model": MODEL | change})) == settings_digest(**BASE)


def test_order_of_keys_does_not():
    assert settings_digest(**(BASE | {"model": dict(reversed(MODEL.items()))})) == settings_digest(
        **BASE
    )


def test_the_seed_counts_only_where_something_is_drawn():
    assert settings_digest(**(GREEDY | {"seed": 2})) == settings_digest(**GREEDY)


def test_the_source_image_counts():
    digest = settings_digest(**BASE)
    assert fingerprint(digest, "0" * 64) != fingerprint(digest, "1" * 64)
