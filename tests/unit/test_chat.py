from pathlib import Path

import pytest
import torch
from noise import noise
from ruamel.yaml import YAML

from imagenet_think import families
from imagenet_think.chat import PromptError, encode, first_conversation, second_conversation

TOOL = {
    "system": "You may call {tools}.",
    "template": "Question about {it}:\n{image}\n{prompt}",
    "second_round": {"first_scale": 0.5, "template": "<tool_response>\n{image}\n</tool_response>"},
}
CALL = 'Too small. <tool_call>\n{"name": "resize_image"}\n</tool_call>'


def texts(message):
    return [part.get("text", "IMAGE") for part in message["content"]]


def test_without_settings_the_image_stands_before_the_prompt():
    image = noise(0)
    (user,) = first_conversation(image, "Describe.", {})
    assert user["role"] == "user"
    assert texts(user) == ["IMAGE", "Describe."]
    assert user["content"][0]["image"] is image


def test_template_and_system_message_keep_their_braces():
    system, user = first_conversation(noise(0), "What is {image} in {this}?", TOOL)
    assert system == {"role": "system", "content": "You may call {tools}."}
    assert texts(user) == ["Question about {it}:\n", "IMAGE", "\nWhat is {image} in {this}?"]


@pytest.mark.parametrize("template", ["{prompt}", "{image}{image}{prompt}"])
def test_a_template_shows_the_image_once(template):
    with pytest.raises(PromptError, match=r"\{image\} once, not [02] times"):
        first_conversation(noise(0), "Describe.", {"template": template})


def test_second_round_follows_a_tool_call_only():
    image = noise(0)
    first = first_conversation(image, "Describe.", TOOL)
    assert second_conversation(first, "<answer>a fish</answer>", image, TOOL) is None
    assert second_conversation(first, "<tool_call> cut off", image, TOOL) is None
    assert second_conversation(first, CALL, image, {}) is None
    second = second_conversation(first, CALL + "<|im_end|>", image, TOOL)
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": CALL}
    assert texts(second[3]) == ["<tool_response>\n", "IMAGE", "\n</tool_response>"]


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (70, 90),  # within the bounds
        (40, 30),  # enlarged to the least number of pixels
        (400, 300),  # reduced to the largest
    ],
)
def test_first_round_shows_half_of_what_the_second_shows(tiny_checkpoint, width, height):
    processor = families.get("qwen2_5_vl").load_processor(
        tiny_checkpoint("qwen2_5_vl"), {"min_pixels": 112 * 112, "max_pixels": 224 * 224}
    )
    image = noise(0, width, height)
    first = first_conversation(image, "Describe.", TOOL)
    whole = encode(processor, first_conversation(image, "Describe.", {}))
    ((_, rows, columns),) = encode(processor, first)["image_grid_thw"].tolist()
    inputs = encode(processor, second_conversation(first, CALL, image, TOOL))
    grid = inputs["image_grid_thw"].tolist()
    assert grid[0] == [1, rows, columns]
    assert grid[1] == whole["image_grid_thw"].tolist()[0]
    assert abs(2 * rows - grid[1][1]) <= 2
    assert abs(2 * columns - grid[1][2]) <= 2
    # The whole image reaches the model exactly as without a first round.
    assert torch.equal(inputs["pixel_values"][-len(whole["pixel_values"]) :], whole["pixel_values"])


@pytest.mark.parametrize("name", ["glm4v", "internvl", "kimi_vl"])
def test_families_without_scaled_images_say_so(tiny_model, name):
    processor = tiny_model(name)[1]
    with pytest.raises(PromptError, match="no second_round"):
        encode(processor, first_conversation(noise(0), "Describe.", TOOL))


@pytest.mark.parametrize("name", families.NAMES)
def test_a_prompt_with_the_image_token_is_named(tiny_model, name):
    processor = tiny_model(name)[1]
    messages = first_conversation(noise(0), f"Is it {processor.image_token}?", {})
    with pytest.raises(PromptError, match="the user text holds the model's image token"):
        encode(processor, messages)


def test_an_answer_with_the_image_token_ends_before_a_second_round(tiny_model):
    processor = tiny_model("qwen2_5_vl")[1]
    first = first_conversation(noise(0), "Describe.", TOOL)
    second = second_conversation(first, "<|image_pad|>" + CALL, noise(0), TOOL)
    with pytest.raises(PromptError, match="the assistant text"):
        encode(processor, second)


def test_a_template_that_drops_the_image_is_an_error(tiny_checkpoint):
    processor = families.get("glm4v").load_processor(tiny_checkpoint("glm4v"))
    processor.chat_template = "{% for m in messages %}{{ m['role'] }}{% endfor %}"
    with pytest.raises(ValueError, match="image"):
        encode(processor, first_conversation(noise(0), "Describe.", {}))


@pytest.mark.parametrize("name", families.NAMES)
def test_inputs_are_what_generate_takes(tiny_model, name):
    _, processor, _ = tiny_model(name)
    inputs = encode(processor, first_conversation(noise(0), "Describe.", {"system": "Think."}))
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape
    assert "token_type_ids" not in inputs
    # Without them Qwen's and GLM's logits change and no error says so.
    assert ("mm_token_type_ids" in inputs) == (name in ("glm4v", "qwen2_5_vl"))
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    assert "Think." in text
    assert "Describe." in text


CONFIGS = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("config", ["config.yaml", "miniature.yaml"])
def test_every_model_of_a_config_can_be_asked(config):
    settings = YAML(typ="safe").load((CONFIGS / config).read_text())
    prompt = settings["prompts"][settings["prompt"]]
    for key, model in settings["models"].items():
        assert model["family"] in families.NAMES
        messages = first_conversation(noise(0), prompt, model)
        said = "".join(part.get("text", "") for part in messages[-1]["content"])
        assert said.count(prompt) == 1, key
        assert "{prompt}" not in said
        assert "{image}" not in said
        assert [m["role"] for m in messages] == ["system", "user"][not model.get("system") :]
        assert (second_conversation(messages, CALL, noise(0), model) is not None) == (
            key == "visionthink"
        )
