"""The published numbers stand here a second time, so that a slip in the resources is seen."""

import functools
import json
import math
import shutil
from functools import partial
from unittest.mock import Mock

import polars as pl
import pytest
import torch
import yaml
from safetensors.torch import save_file
from transformers import Qwen2_5_VLConfig

import describe_checkpoints
from imagenet_think.inference import checkpoint_specs, checkpoints, families
from imagenet_think.inference.checkpoints import published_shapes
from imagenet_think.inference.families import kimi_vl

# Tensors in the files, parameters, cached bytes a token as published or from a public build.
NUMBERS = {
    "glm4v": (704, 10_292_777_472, 40_960),
    "internvl": (841, 8_528_318_464, 147_456),
    "kimi_vl": (5679, 16_407_654_384, 31_104),
    "qwen2_5_vl": (729, 8_292_166_656, 57_344),
}
ROTARY, ROUTER_BIAS = 27 * 32, 26 * 64  # in Kimi's files, and no parameters


@pytest.fixture(scope="module", autouse=True)
def _tokenizers_made_once():
    """With some 150,000 tokens, they take a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_specs, "tokenizer", functools.cache(checkpoint_specs.tokenizer))
        yield


@pytest.fixture
def copied(tmp_path):
    """A function that copies what a family's repository would hold to where it may be changed."""

    def copy(family):
        ours = shutil.ignore_patterns("tokens.json", "weights.tsv")
        return shutil.copytree(checkpoint_specs.ROOT / family, tmp_path / family, ignore=ours)

    return copy


def edit(folder, change, name="config.json"):
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize("family", NUMBERS)
def test_every_published_weight_is_loaded_at_full_size(family):
    tensors, parameters, cached = NUMBERS[family]
    shapes = published_shapes(checkpoint_specs.ROOT / family)
    assert len(shapes) == tensors
    others = ROTARY + ROUTER_BIAS if family == "kimi_vl" else 0
    assert sum(map(math.prod, shapes.values())) == parameters + others

    model = checkpoint_specs.meta_model(family)
    assert sum(p.numel() for p in model.parameters()) == parameters
    exact = tuple(model.model.language_model._keep_in_fp32_modules_strict or ())  # by version
    assert {
        (p.device.type, p.dtype) for n, p in model.named_parameters() if not n.endswith(exact)
    } == {("meta", torch.bfloat16)}
    assert checkpoint_specs.cached_bytes(model.config, torch.bfloat16) == cached
    expanded = 276_480 if family == "kimi_vl" else cached
    assert checkpoint_specs.cached_bytes(model.config, torch.bfloat16, expanded=True) == expanded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("lm_head.weight"), "1 missing: lm_head.weight"),
        (lambda w: w.update({"surplus.weight": (3,)}), "1 unexpected: surplus.weight"),
        (lambda w: w.update({"lm_head.weight": (151552, 4097)}), "of another shape: .*lm_head"),
    ],
)
def test_a_weight_that_does_not_fit_is_named(monkeypatch, change, message):
    shapes = published_shapes(checkpoint_specs.ROOT / "glm4v")
    change(shapes)
    monkeypatch.setattr(checkpoints, "published_shapes", lambda folder: shapes)
    with pytest.raises(ValueError, match=message):
        checkpoint_specs.meta_model("glm4v")


@pytest.mark.parametrize("family", families.NAMES)
def test_a_model_on_the_meta_device_equals_a_loaded_one(tiny_model, tiny_checkpoint, family):
    _, _, real = tiny_model(family)
    meta = checkpoint_specs.meta_model(family, tiny_checkpoint(family), torch.float32)
    weights, expected = (
        {name: (weight.shape, weight.dtype) for name, weight in model.state_dict().items()}
        for model in (meta, real)
    )
    assert weights == expected
    assert meta.config.to_diff_dict() == real.config.to_diff_dict()
    assert meta.generation_config.to_dict() == real.generation_config.to_dict()


def test_kimis_projector_needs_its_renaming(monkeypatch):
    monkeypatch.setattr(kimi_vl, "_RENAMED", {})
    with pytest.raises(ValueError, match=r"6 missing: model\.mm_projector\.in_proj\.bias"):
        checkpoint_specs.meta_model("kimi_vl")


def test_kimis_weights_are_saved_under_the_published_names():
    shapes = published_shapes(checkpoint_specs.ROOT / "kimi_vl")
    saved = kimi_vl.published_weights(checkpoint_specs.meta_model("kimi_vl"))
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()}.items() <= shapes.items()
    rotary = shapes.keys() - saved.keys()
    assert len(rotary) == 27
    assert all(name.endswith("rotary_emb.inv_freq") for name in rotary)


def test_weights_on_the_disk_take_precedence_over_published_names(copied):
    folder = copied("glm4v")
    assert not checkpoint_specs.has_weights(folder)
    save_file({"lm_head.weight": torch.zeros(3)}, folder / "model.safetensors")
    assert checkpoint_specs.has_weights(folder)
    with pytest.raises(ValueError, match="703 missing"):
        checkpoint_specs.meta_model("glm4v", folder)
    # An interrupted download: the index names a file that is not there.
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00004.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not checkpoint_specs.has_weights(folder)
    assert checkpoint_specs.meta_model("glm4v", folder).lm_head.weight.shape == (151552, 4096)


def test_qwen_is_never_built_from_the_defaults_of_72b(copied):
    default = Qwen2_5_VLConfig().text_config
    assert (default.hidden_size, default.num_hidden_layers) == (8192, 80)
    folder = edit(copied("qwen2_5_vl"), lambda c: c.pop("hidden_size"))
    with pytest.raises(ValueError, match=r"text width 8192, config\.json says None"):
        checkpoint_specs.meta_model("qwen2_5_vl", folder)
    edit(folder, lambda c: c.update(hidden_size=3584) or c.pop("num_hidden_layers"))
    with pytest.raises(ValueError, match="624 missing"):  # 52 layers of 12 tensors
        checkpoint_specs.meta_model("qwen2_5_vl", folder)


@pytest.mark.parametrize(
    ("family", "image", "tokens"),
    [
        ("glm4v", None, 234),
        ("kimi_vl", None, 252),
        ("internvl", None, 256),
        ("internvl", {"crop_to_patches": True, "min_patches": 1, "max_patches": 12}, 3328),
        ("internvl", {"crop_to_patches": True, "min_patches": 1, "max_patches": 6}, 1792),
        ("qwen2_5_vl", None, 234),
        ("qwen2_5_vl", {"min_pixels": 200704, "max_pixels": 1003520}, 266),
    ],
)
def test_an_image_takes_the_published_number_of_tokens(family, image, tokens):
    settings = {"family": family, "image": image}
    assert describe_checkpoints.image_tokens(settings, None) == tokens


@pytest.mark.parametrize(
    ("scaling", "image", "tokens"),
    [
        ("evaluation", None, (63, 234)),
        ("training", {"min_pixels": 262144, "max_pixels": 4194304}, (88, 352)),
    ],
)
def test_rounds_take_the_tokens_of_the_authors(scaling, image, tokens):
    rounds = {"first_scale": 0.5, "scaling": scaling}
    settings = {"family": "qwen2_5_vl", "image": image, "second_round": rounds}
    both = (settings, settings | {"second_round": None})
    assert tuple(describe_checkpoints.image_tokens(each, None) for each in both) == tokens


@pytest.mark.parametrize(
    ("family", "size", "token", "number"),
    [
        ("glm4v", 151552, "<|image|>", 151343),
        ("internvl", 151936, "<IMG_CONTEXT>", 151671),
        ("kimi_vl", 163840, "<|media_pad|>", 163605),
        ("qwen2_5_vl", 152064, "<|image_pad|>", 151655),
    ],
)
def test_the_placeholder_tokenizer_has_the_published_ids(family, size, token, number):
    processor = checkpoint_specs.processor(family)
    tokens = processor.tokenizer
    assert len(tokens) == len(tokens.get_vocab()) == size
    assert (processor.image_token, processor.image_token_id) == (token, number)
    text = f"Thé fish{token}."
    assert tokens.decode(tokens.encode(text)) == text
    assert tokens.encode(text).count(number) == 1
    assert tokens.decode([size - 2]) == f" unused{size - 2}"


@pytest.mark.parametrize("family", families.NAMES)
def test_a_random_model_is_a_new_model_of_its_class(tiny_checkpoint, family):
    options = {"source": tiny_checkpoint(family), "seed": 3}
    first, again = (
        checkpoint_specs.random_model(family, "cpu", torch.float32, **options) for _ in range(2)
    )
    new = type(first)._from_config(first.config, dtype=torch.float32)
    equal = partial(torch.testing.assert_close, rtol=0, atol=0)
    equal(dict(first.named_parameters()), dict(again.named_parameters()))
    equal(dict(first.named_buffers()), dict(new.named_buffers()))
    with torch.inference_mode():
        output = first(input_ids=torch.arange(40, 50)[None], use_cache=True)
    assert output.logits.isfinite().all()
    held = sum(4 * (layer.keys.numel() + layer.values.numel()) for layer in output[1].layers)
    # What is computed for a token is what transformers' own cache holds of it.
    assert held == 10 * checkpoint_specs.cached_bytes(first.config, torch.float32)


def leaves(value, path=()):
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in leaves(part, (*path, key))]
    return [".".join(path)]


@pytest.mark.parametrize("family", NUMBERS)
def test_every_number_has_a_source_or_is_marked(family):
    folder, stated = checkpoint_specs.ROOT / family, checkpoint_specs.sources(family)["files"]
    known = yaml.safe_load((checkpoint_specs.ROOT / "sources.yaml").read_text())["sources"]
    for file, entries in stated.items():
        for entry in entries:
            assert entry.get("source") or entry.get("unchecked")
            assert entry.get("source", "public").split()[0].strip(",") in {*known, "public"}
        keys = [key for entry in entries for key in entry["keys"] if not key.startswith("(")]
        if file == "weights.tsv":
            assert keys == ["names", "shapes"]
        elif file == "tokens.json":
            tokens = json.loads((folder / file).read_text())
            assert sorted(keys) == sorted([*tokens["special"], *tokens["plain"]])
        else:
            assert sorted(keys) == sorted(leaves(json.loads((folder / file).read_text())))
    assert set(stated) == {path.name for path in folder.iterdir() if path.suffix != ".jinja"}


KIMI, GLM = "moonshotai/Kimi-VL-A3B-Thinking-2506", "zai-org/GLM-4.1V-9B-Thinking"
GREEDY = {"max_new_tokens": 8192, "temperature": 0.0, "top_p": 1.0, "top_k": 0}
MODELS = {
    "kimi": {"repository": KIMI, "revision": None, "family": "kimi_vl", "decoding": GREEDY},
    "glm": {"repository": GLM, "revision": None, "family": "glm4v", "decoding": GREEDY},
}


def test_the_page_lists_what_each_model_needs_and_what_is_unchecked(tmp_path):
    describe_checkpoints.describe_checkpoints(MODELS, tmp_path / "checkpoints")
    page = (tmp_path / "checkpoints.md").read_text()
    assert (
        "| glm | published shapes | 10,292,777,472 | 19.17 | 40,960 | 0.31 | 234 | 4, see below |"
        in page
    )
    assert "16,407,654,384 | 30.56 | 31,104 (276,480 expanded) | 0.24 | 252 |" in page
    assert "taken to be that of moonshotai/Kimi-VL-A3B-Instruct" in page
    assert "taken to be that of zai-org" not in page
    assert "Not on the disk: kimi, glm." in page
    lines = (tmp_path / "checkpoints.csv").read_text().splitlines()
    assert lines[0].startswith("model,repository,family,read,parameters,weights_gib,cached_bytes")
    assert lines[2].startswith(f"glm,{GLM},glm4v,published shapes,10292777472,")


def test_a_config_in_the_hubs_cache_is_the_one_that_is_checked(tmp_path, copied, monkeypatch):
    folder = edit(copied("glm4v"), lambda c: c.update(num_hidden_layers=41))
    cached = Mock(return_value=str(folder / "config.json"))
    monkeypatch.setattr(describe_checkpoints, "try_to_load_from_cache", cached)
    models = {"glm": {**MODELS["glm"], "revision": "abc"}}
    with pytest.raises(ValueError, match=r"(?s)would not load:\nglm .*: .*glm4v.*13 missing"):
        describe_checkpoints.describe_checkpoints(models, tmp_path / "checkpoints")
    cached.assert_called_with(GLM, "config.json", revision="abc")
    assert not (tmp_path / "checkpoints.md").exists()
    edit(folder, lambda c: c.update(num_hidden_layers=40))
    row = describe_checkpoints.describe(models["glm"])
    assert row["read"] == "config on the disk, published names"
    # What stands in its own files is no longer in doubt; its tokenizer is not there.
    assert [doubt.split(":")[0] for doubt in row["unchecked"]] == ["tokens.json"] * 2


def test_a_checkpoint_on_the_disk_is_checked_by_its_own_weights(tiny_checkpoint):
    settings = {"repository": str(tiny_checkpoint("kimi_vl")), "revision": None, "decoding": GREEDY}
    row = describe_checkpoints.describe({**settings, "family": "kimi_vl"})
    assert (row["read"], row["unchecked"]) == ("config and weights on the disk", [])
    assert row["sampling"] == {
        "do_sample": (True, False),
        "temperature": (0.2, 0.0),
        "top_k": (3, 0),
    }
    assert 0 < row["parameters"] < 10**6


PUBLISHED = {"do_sample": True, "temperature": 0.1, "top_k": 1}
# By model: what its checkpoint publishes (None: there is no file), and its decoding.
SAMPLED = {
    "named": (PUBLISHED | {"min_p": 0.05}, {"temperature": 0.1, "top_k": 1, "top_p": 0.9}),
    "deferring": (PUBLISHED | {"repetition_penalty": 1.05}, {"from_checkpoint": True}),
    "silent": ({}, {"temperature": 0.0}),
    "absent": (None, {"from_checkpoint": True}),
}


def test_every_published_sampling_setting_is_listed_with_the_one_in_force(
    tmp_path, tiny_checkpoint
):
    models = {}
    for key, (published, decoding) in SAMPLED.items():
        folder = shutil.copytree(tiny_checkpoint("qwen2_5_vl"), tmp_path / key)
        (folder / "generation_config.json").unlink()
        if published is not None:
            (folder / "generation_config.json").write_text(json.dumps(published))
        models[key] = {"repository": str(folder), "revision": None, "family": "qwen2_5_vl"}
        models[key]["decoding"] = decoding
    describe_checkpoints.describe_checkpoints(models, tmp_path / "out")
    page = (tmp_path / "out.md").read_text()
    lines = page.partition("## Sampling settings")[2].replace("\\", "").splitlines()
    assert [line for line in lines if line.startswith(("| named", "| deferring"))] == [
        "| named | do_sample | True | True |",
        "| named | temperature | 0.1 | 0.1 |",
        "| named | top_k | 1 | 1 |",
        "| named | min_p | 0.05 | not applied (differs) |",
        "| deferring | do_sample | True | True |",
        "| deferring | temperature | 0.1 | 0.1 |",
        "| deferring | top_k | 1 | 1 |",
        "| deferring | repetition_penalty | 1.05 | 1.05 |",
    ]
    assert "No settings are published by silent." in page
    assert "Not on the disk: absent." in page
    rows = pl.read_csv(tmp_path / "out.csv").rows_by_key("model", named=True, unique=True)
    assert json.loads(rows["named"]["sampling"])["min_p"] == [0.05, None]
    assert json.loads(rows["absent"]["sampling"]) is None
    # With `from_checkpoint`, a setting that cannot be applied is an error already here.
    with pytest.raises(ValueError, match=r"sets min_p to 0\.05"):
        describe_checkpoints.sampling(models["deferring"], tmp_path / "named")


def test_a_family_without_published_shapes_needs_its_checkpoint(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint_specs, "ROOT", tmp_path)
    (tmp_path / "sources.yaml").write_text("families: {}\n")
    with pytest.raises(ValueError, match=r"not on the disk, and .*/glm4v does not describe it"):
        checkpoint_specs.meta_model("glm4v")
    assert checkpoint_specs.unchecked("glm4v", GLM) == [
        "config.json: all of it, nothing is recorded of the family"
    ]
