import base64
import json
import shutil
from unittest.mock import Mock

import pytest
import tiktoken
import torch
from noise import noise, noise_file
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import InternVLProcessor

from imagenet_think.inference import checkpoints, families
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.families import kimi_vl

LOADING = {"dtype": torch.float32, "attention": "sdpa", "device": "cpu"}


@pytest.fixture
def copied(tiny_checkpoint, tmp_path):
    """A function that copies a family's checkpoint to a place where the test may change it."""

    def copy(family):
        return shutil.copytree(tiny_checkpoint(family), tmp_path / family)

    return copy


def edit_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_an_unknown_family_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"'llava' is not in .*, which has glm4v, internvl, "):
        families.get("llava")


NAMED = [{"name": "default", "template": "{{ 1 }}"}, {"name": "tool_use", "template": "{{ 2 }}"}]


@pytest.mark.parametrize(
    ("templates", "names"),
    [
        (NAMED, r" \(default, tool_use\)"),
        ({"default": "{{ 1 }}", "rag": "{{ 2 }}"}, r" \(default, rag\)"),
        (["{{ 1 }}", "{{ 2 }}"], ""),
        (7, ""),
    ],
)
@pytest.mark.parametrize("file", ["tokenizer_config.json", "chat_template.json"])
def test_several_named_templates_are_named_with_what_to_do(copied, file, templates, names):
    folder = copied("qwen2_5_vl")
    template = folder / "chat_template.jinja"
    text = template.read_text()
    template.unlink()
    (folder / file).touch()
    content = json.loads((folder / file).read_text() or "{}") | {"chat_template": templates}
    (folder / file).write_text(json.dumps(content))
    message = rf"{file} has several chat templates{names}: .*write the one to use to chat_template"
    with pytest.raises(ValueError, match=message):
        checkpoints.chat_template(folder)
    # The file that the message asks for has precedence over all.
    template.write_text(text)
    processor = families.get("qwen2_5_vl").load_processor(folder)
    assert encode(processor, first_conversation(noise_file(0), "Describe.", {}))


@pytest.mark.parametrize("name", families.NAMES)
def test_published_sampling_settings_do_not_leak_into_generation(tiny_model, name):
    settings = tiny_model(name)[2].generation_config
    assert (settings.do_sample, settings.temperature, settings.top_k) == (None, None, None)


def test_stop_tokens_are_the_published_and_the_familys(copied, tiny_model):
    family, processor, _ = tiny_model("kimi_vl")
    folder, end = copied("kimi_vl"), processor.tokenizer.convert_tokens_to_ids("[EOS]")
    edit_json(folder / "generation_config.json", lambda c: c.update(eos_token_id=end))
    ids = checkpoints.stop_ids(family, processor, folder)
    assert processor.tokenizer.convert_ids_to_tokens(ids) == ["[EOS]", "<|im_end|>"]


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop(max(weights)), "1 missing: "),
        (lambda weights: weights.update(surplus=torch.zeros(1)), "1 unexpected: surplus"),
    ],
)
def test_a_missing_or_left_over_weight_is_an_error(copied, name, change, message):
    folder = copied(name)
    edit_weights(folder, change)
    with pytest.raises(ValueError, match=message):
        families.get(name).load_model(folder, **LOADING)


@pytest.mark.parametrize("name", families.NAMES)
def test_an_unknown_image_setting_is_an_error(tiny_checkpoint, name):
    with pytest.raises(ValueError, match=r"no image setting \['pixels'\]; known are"):
        families.get(name).load_processor(tiny_checkpoint(name), {"pixels": 3})


def test_a_hub_id_needs_a_revision():
    with pytest.raises(ValueError, match="revision"):
        families.get("glm4v").load_processor("zai-org/GLM-4.1V-9B-Thinking")


def test_a_hub_repository_is_read_from_its_snapshot(tiny_checkpoint, monkeypatch):
    snapshot = Mock(return_value=str(tiny_checkpoint("glm4v")))
    monkeypatch.setattr(checkpoints, "snapshot_download", snapshot)
    family, repository = families.get("glm4v"), "zai-org/GLM-4.1V-9B-Thinking"
    family.load_processor(repository, revision="abc")
    model = family.load_model(repository, revision="abc", **LOADING)
    assert type(model).__name__ == "Glm4vForConditionalGeneration"
    # A processor does not fetch the weights.
    for (place, options), weights in zip(snapshot.call_args_list, (False, True), strict=True):
        assert (place, options["revision"]) == ((repository,), "abc")
        assert ("*.safetensors" in options["allow_patterns"]) == weights


@pytest.mark.parametrize("name", ["glm4v", "qwen2_5_vl"])
def test_pixel_bounds_are_those_of_one_image(tiny_checkpoint, name):
    bounds = {"min_pixels": 84 * 84, "max_pixels": 140 * 140}
    processor = families.get(name).load_processor(tiny_checkpoint(name), bounds)
    for side, shown in ((30, 84), (112, 112), (500, 140)):
        grid = processor.image_processor([noise(0, side, side)], return_tensors="pt")
        assert grid["image_grid_thw"].tolist() == [[1, shown // 14, shown // 14]]


@pytest.mark.parametrize(
    ("name", "rotary", "vision"),
    [("glm4v", "default", {}), ("qwen2_5_vl", "mrope", {"model_type": "qwen2_5_vl"})],
)
def test_the_flat_published_config_gives_the_same_model(copied, tiny_model, name, rotary, vision):
    folder = copied(name)

    def flatten(config):
        text = config.pop("text_config")
        rope = text.pop("rope_parameters")
        for key in ("model_type", "dtype", "layer_types"):
            text.pop(key, None)
        scaling = {"type": rotary, "mrope_section": rope.pop("mrope_section")}
        del rope["rope_type"]
        config["vision_config"] |= vision
        config |= {**text, **config, **rope, "rope_scaling": scaling}

    edit_json(folder / "config.json", flatten)
    _, processor, nested = tiny_model(name)
    flat = families.get(name).load_model(folder, **LOADING)
    inputs = encode(processor, first_conversation(noise_file(1), "Describe.", {}))
    with torch.inference_mode():
        assert torch.equal(flat(**inputs).logits, nested(**inputs).logits)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("glm4v", lambda text: text["rope_parameters"].pop("mrope_section"), "mrope_section None"),
        ("kimi_vl", lambda text: text.update(rope_scaling={"type": "yarn"}), "rope_scaling"),
    ],
)
def test_another_rotary_embedding_is_an_error(copied, name, change, message):
    folder = copied(name)
    edit_json(folder / "config.json", lambda config: change(config["text_config"]))
    with pytest.raises(ValueError, match=message):
        families.get(name).load_model(folder, **LOADING)


def test_weights_are_stored_under_published_names(tiny_checkpoint):
    names = {
        family: set(load_file(tiny_checkpoint(family) / "model.safetensors"))
        for family in families.NAMES
    }
    assert "model.language_model.layers.0.mlp.gate_up_proj.weight" in names["glm4v"]
    assert "language_model.model.layers.0.mlp.up_proj.weight" in names["internvl"]
    assert "language_model.model.layers.1.mlp.experts.3.up_proj.weight" in names["kimi_vl"]
    assert {"model.layers.0.mlp.up_proj.weight", "visual.merger.ln_q.weight"} <= names["qwen2_5_vl"]


def test_the_image_processor_class_of_a_checkpoint_is_checked(copied):
    folder = copied("qwen2_5_vl")
    settings = folder / "preprocessor_config.json"
    # R1-Onevision names a class that was never released.
    edit_json(settings, lambda c: c.update(image_processor_type="Qwen2_5_VLImageProcessor"))
    processor = families.get("qwen2_5_vl").load_processor(folder)
    assert processor.image_processor.size == {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    edit_json(settings, lambda c: c.update(image_processor_type="CLIPImageProcessor"))
    with pytest.raises(ValueError, match="'CLIPImageProcessor' is not one of"):
        families.get("qwen2_5_vl").load_processor(folder)


def test_internvl_keeps_both_embedding_matrices(copied):
    folder = copied("internvl")
    edit_json(folder / "config.json", lambda c: c.pop("tie_word_embeddings"))
    model = families.get("internvl").load_model(folder, **LOADING)
    assert not torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)
    assert model.config.tie_word_embeddings is False


@pytest.mark.parametrize(
    ("settings", "tiles"),
    [
        ({}, 1),  # the checkpoint says no, the class would say yes
        ({"crop_to_patches": False}, 1),
        ({"crop_to_patches": True}, 3),
        ({"crop_to_patches": True, "max_patches": 1}, 1),
    ],
)
def test_internvl_cuts_tiles_as_set(tiny_checkpoint, settings, tiles):
    processor = families.get("internvl").load_processor(tiny_checkpoint("internvl"), settings)
    inputs = encode(processor, first_conversation(noise_file(1, 112, 56), "Describe.", {}))
    assert inputs["pixel_values"].shape == (tiles, 3, 56, 56)
    assert (inputs["input_ids"] == processor.image_token_id).sum() == 4 * tiles


def test_internvl_passes_its_settings_at_every_call(tiny_checkpoint, monkeypatch):
    """Some versions of transformers take those of the class, whatever the object has."""
    processor = families.get("internvl").load_processor(tiny_checkpoint("internvl"))
    monkeypatch.setattr(InternVLProcessor, "__call__", Mock(return_value={}))
    processor(text="Describe.", images_kwargs={"do_resize": False})
    call = InternVLProcessor.__call__
    tiles = {"crop_to_patches": False, "min_patches": 1, "max_patches": 12}
    call.assert_called_once_with(text="Describe.", images_kwargs=tiles | {"do_resize": False})


def test_kimi_shrinks_to_the_limit_and_pads_with_black(tiny_checkpoint):
    processor = families.get("kimi_vl").load_processor(
        tiny_checkpoint("kimi_vl"), {"in_token_limit": 16}
    )
    white = Image.new("RGB", (30, 20), "white")
    small = processor.image_processor([white], return_tensors="pt")
    assert small["image_grid_thw"].tolist() == [[1, 2, 4]]
    patches = small["pixel_values"].reshape(2, 4, 3, 14, 14)
    assert patches[0, 0].eq(1).all()
    assert patches[0, 3].eq(-1).all()
    assert patches[1, 0][:, :6].eq(1).all()
    assert patches[1, 0][:, 6:].eq(-1).all()
    # 10 x 10 patches become 4 x 4.
    large = processor.image_processor([noise(0, 140, 140)], return_tensors="pt")
    assert large["image_grid_thw"].tolist() == [[1, 4, 4]]


TOKENIZER_FILE = r"""
class TikTokenTokenizer(Base):
    num_reserved_special_tokens = 256
    pat_str = "|".join(
        [
            r'[\p{Han}]+',
            r'[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+',
            r'\p{N}{1,3}',
            r' ?[^\s\p{L}\p{N}]+[\r\n]*',
            r'\s+',
        ]
    )
    raise RuntimeError("this file must not be run")
"""


def test_kimis_tiktoken_vocabulary_is_read_without_running_code(copied):
    folder = copied("kimi_vl")
    (folder / "tokenizer.json").unlink()
    # Merges in the order of their ranks, as tiktoken stores them. One joins a Latin letter and the
    # first byte of a Chinese one, which only the checkpoint's own pattern keeps apart.
    merges = [b"d\xe4", b"th", b"the", b" t", b" the", b"12", b"123", b"\xe4\xbd", b"ed", b"\n\n"]
    ranks = {token: i for i, token in enumerate([*(bytes([i]) for i in range(256)), *merges])}
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    (folder / "tiktoken.model").write_text("\n".join(lines))
    (folder / "tokenization_moonshot.py").write_text(TOKENIZER_FILE)
    first = len(ranks)
    special = {first: "[BOS]", first + 1: "[EOS]", first + 2: "<|media_pad|>", first + 5: "[PAD]"}
    config = {"added_tokens_decoder": {str(i): {"content": token} for i, token in special.items()}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    edit_json(folder / "config.json", lambda c: c["text_config"].update(vocab_size=first + 6))

    tokenizer = kimi_vl.load_tokenizer(folder)
    reference = tiktoken.Encoding(
        "kimi",
        pat_str=kimi_vl.split_pattern(folder),
        mergeable_ranks=ranks,
        special_tokens={token: i for i, token in special.items()},
    )
    assert r"[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}" in kimi_vl.split_pattern(folder)
    for text in (
        "the other 12345 the the",
        "你好 world ◁think▷ mixed你好ed\n\n\nthe end  ",
        "thé <|media_pad|>x",
    ):
        assert tokenizer.encode(text) == reference.encode(text, allowed_special="all")
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.convert_ids_to_tokens(first + 3) == f"<|reserved_token_{first + 3}|>"
    assert len(tokenizer) == first + 6


def test_kimis_tiktoken_vocabulary_needs_its_pattern(copied):
    folder = copied("kimi_vl")
    with pytest.raises(ValueError, match=r"0 files tokenization_\*\.py"):
        kimi_vl.split_pattern(folder)
    (folder / "tokenization_moonshot.py").write_text("class T:\n    pat_str = make_pattern()\n")
    with pytest.raises(ValueError, match="no pat_str that can be read"):
        kimi_vl.split_pattern(folder)
