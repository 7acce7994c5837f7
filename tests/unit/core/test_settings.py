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


def taken(*keys, wildcards=None, **placeholders):
    return json.loads(DECLARED.reads(*keys, **placeholders)(wildcards))


def test_several_keys_keep_the_nesting_of_the_config():
    expected = {"seed": 1, "images": {"criteria": {"min_side": 224}}}
    assert taken("seed", "images.criteria.min_side") == expected


def test_any_other_placeholder_is_a_wildcard():
    wildcards = SimpleNamespace(model="unused")
    expected = {"models": {"unused": {"output": "boxed"}}}
    assert taken("models.{model}.output", wildcards=wildcards) == expected


def test_a_rule_may_derive_a_placeholder_from_wildcards():
    wildcards = SimpleNamespace(model="b")
    same = taken("models.{own}.output", wildcards=wildcards, own=lambda given: [given.model])
    assert same == {"models": {"b": {"output": "think"}}}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # A section is complete, and null is a value.
        ("images.criteria", {"images": {"criteria": {"min_side": 224, "scorer": None}}}),
        # A placeholder stands for keys of a section.
        ("models.{teachers}.name", {"models": {"a": {"name": "A"}, "b": {"name": "B"}}}),
        ("prompts.{prompt}", {"prompts": {"one": "Describe."}}),
        ("models.{nobody}.name", {}),
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


def test_a_param_is_the_same_for_any_order_of_keys():
    turned = {key: CONFIG[key] for key in reversed(CONFIG)}
    keys = ("seed", "models.{teachers}.name", "images")
    first = DECLARED.reads(*keys)(None)
    assert DECLARED.reads(*keys[::-1], of=turned)(None) == first
    assert json.dumps(json.loads(first), sort_keys=True) == first


def test_swapped_values_change_a_param():
    swapped = CONFIG | {
        "models": CONFIG["models"] | {"a": CONFIG["models"]["b"], "b": CONFIG["models"]["a"]}
    }
    key = "models.{teachers}.name"
    texts = {DECLARED.reads(key, of=config)(None) for config in (CONFIG, swapped)}
    assert len(texts) == 2


def test_a_derived_param_includes_its_names():
    wildcards = SimpleNamespace(group="3")
    param = settings.derived(full=False, classes=lambda given: [given.group, "é"])
    assert param(wildcards) == '{"classes": ["3", "é"], "full": false}'


def rule(*params, inputs=()):
    return SimpleNamespace(name="make", params=params, input=inputs)


def test_a_rule_declares_the_keys_of_its_params_and_inputs():
    made = rule(
        DECLARED.reads("seed", "images.total"),
        DECLARED.uses("inference", "seed"),
        settings.derived(full=True),
        "text",
        inputs=["file", DECLARED.files("images.classes", by=lambda wildcards: "classes.tsv")],
    )
    keys, unseen, named = (function.config_keys for function in settings.declaring(made))
    assert keys == ("seed", "images.total")
    assert unseen == ("inference", "seed")
    assert named == ("images.classes",)


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
    with pytest.raises(settings.UnknownKeyError, match="Rule make reads") as caught:
        settings.check(rule(DECLARED.reads(key)), KNOWN)
    assert key in str(caught.value)


def test_known_keys_are_accepted():
    keys = ["seed", "images", "models.{model}.image.min_pixels", "prompts.{prompt}"]
    settings.check(rule(DECLARED.uses(*keys)), KNOWN)


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


def test_models_in_the_order_of_their_roles():
    given = taken("teachers", "benchmarked", "models.{teachers}.name")
    assert list(settings.names(given).items()) == [("b", "B"), ("a", "A")]


def test_the_text_of_the_prompt():
    assert settings.prompt(taken("prompt", "prompts.{prompt}")) == "Describe."
