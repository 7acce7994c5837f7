"""Keys of the config that rules declare, and what their scripts are given."""

import json
from types import SimpleNamespace

import pytest

from imagenet_think.core import settings
from imagenet_think.run import configuration

CONFIG = {
    "seed": 1,
    "images": {"total": 5, "criteria": {"min_side": 224, "scorer": None}},
    "prompts": {"one": "Describe.", "other": "Explain."},
    "prompt": "one",
    "models": {
        "b": {"name": "B", "output": "think", "decoding": {"top_k": 1}},
        "a": {"name": "A", "responses": {"path": "a.parquet"}},
        "unused": {"name": "U", "output": "boxed"},
    },
    "teachers": ["b", "a"],
    "benchmarked": ["c"],
}
PLACEHOLDERS = {"teachers": ["b", "a"], "prompt": ["one"], "nobody": []}


DECLARED = settings.Declarations(CONFIG, PLACEHOLDERS)
KNOWN = settings.all_leaves(configuration.schema())


def taken(*keys):
    derived = DECLARED.reads(*keys, own=lambda given: [given.model])
    return json.loads(derived(SimpleNamespace(model="unused")))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # A section is complete, and null is a value.
        ("images.criteria", {"images": {"criteria": {"min_side": 224, "scorer": None}}}),
        # A placeholder stands for keys of a section.
        ("models.{teachers}.name", {"models": {"a": {"name": "A"}, "b": {"name": "B"}}}),
        ("prompts.{prompt}", {"prompts": {"one": "Describe."}}),
        ("models.{nobody}.name", {}),
        # Any other placeholder is a wildcard, and a rule may derive one from wildcards.
        ("models.{model}.output", {"models": {"unused": {"output": "boxed"}}}),
        ("models.{own}.output", {"models": {"unused": {"output": "boxed"}}}),
        # A key that the config or a model does not have is left out of its section.
        ("models.{teachers}.decoding", {"models": {"a": {}, "b": {"decoding": {"top_k": 1}}}}),
        ("review", {}),
        ("images.reserve", {"images": {}}),
        ("images.source.labels", {"images": {}}),
        ("models.{teachers}.second_round.template", {"models": {"a": {}, "b": {}}}),
        ("seed.of.nothing", {}),
    ],
)
def test_values_of_a_key(key, expected):
    assert taken(key) == expected
    # Several keys keep the nesting of the config.
    assert taken("teachers", "images.total", key) == {
        "teachers": ["b", "a"],
        **expected,
        "images": {"total": 5} | expected.get("images", {}),
    }


def test_a_param_is_the_same_for_any_order_of_keys():
    turned = {key: CONFIG[key] for key in reversed(CONFIG)}
    keys = ("seed", "models.{teachers}.name", "images")
    first = DECLARED.reads(*keys)(None)
    assert DECLARED.reads(*keys[::-1], of=turned)(None) == first
    assert json.dumps(json.loads(first), sort_keys=True) == first


def test_swapped_values_change_a_param():
    models = CONFIG["models"]
    swapped = CONFIG | {"models": models | {"a": models["b"], "b": models["a"]}}
    key = "models.{teachers}.name"
    assert DECLARED.reads(key, of=swapped)(None) != DECLARED.reads(key)(None)


def test_a_derived_param_includes_its_names():
    wildcards = SimpleNamespace(group="3")
    param = settings.derived(full=False, classes=lambda given: [given.group, "é"])
    assert param(wildcards) == '{"classes": ["3", "é"], "full": false}'


def rule(*params, inputs=()):
    return SimpleNamespace(name="make", params=params, input=inputs)


def test_a_rule_declares_the_keys_of_its_params_and_inputs():
    found = DECLARED.files("images.classes", by=lambda wildcards: "classes.tsv")
    params = DECLARED.reads("seed", "images.total"), DECLARED.uses("inference", "seed")
    made = rule(*params, settings.derived(full=True), "text", inputs=["file", found])
    declared = [function.config_keys for function in settings.declaring(made)]
    assert declared == [("seed", "images.total"), ("inference", "seed"), ("images.classes",)]


def test_the_keys_of_a_job_depend_on_its_wildcards():
    keys = ["seed", "models.{teachers}.name", "models.{model}.output"]
    (function,) = settings.declaring(rule(DECLARED.reads(*keys)))
    paths = function.config_paths(SimpleNamespace(model="c"))
    assert [".".join(path) for path in paths] == [
        *("seed", "models.b.name", "models.a.name", "models.c.output")
    ]


@pytest.mark.parametrize(
    "key", ["images.totl", "seeds", "images.criteria.{any}.x", "models.{model}.nam", "seed.x"]
)
def test_an_unknown_key_is_refused_with_its_rule(key):
    known = ["seed", "images", "models.{model}.image.min_pixels", "prompts.{prompt}"]
    settings.check(rule(DECLARED.uses(*known)), KNOWN)
    with pytest.raises(settings.UnknownKeyError, match="Rule make reads") as caught:
        settings.check(rule(DECLARED.reads(*known, key)), KNOWN)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("key", "leaves"),
    [
        ("sharding", ["sharding.blocks", "sharding.shards_per_block"]),
        ("models.{teachers}.name", ["models.<name>.name"]),
        ("prompts.{prompt}", ["prompts.<name>"]),
        ("benchmark.{metric}.stemmer", ["benchmark.rouge.stemmer"]),
        ("{known}.rouge.stemmer", ["benchmark.rouge.stemmer"]),
        ("{known}.blocks", []),
    ],
)
def test_the_leaves_of_a_key(key, leaves):
    assert settings.leaves(key, KNOWN, {"known": ["benchmark"]}) == leaves


def test_models_in_the_order_of_their_roles_and_the_text_of_the_prompt():
    given = taken("teachers", "benchmarked", "models.{teachers}.name", "prompt", "prompts.{prompt}")
    assert list(settings.names(given).items()) == [("b", "B"), ("a", "A")]
    assert settings.prompt(given) == "Describe."
