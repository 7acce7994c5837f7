import hashlib
import io
from pathlib import Path

import pytest
import torch
from noise import noise_file
from PIL import Image
from ruamel.yaml import YAML
from tokenizers.processors import TemplateProcessing

from imagenet_think.inference import families
from imagenet_think.inference.chat import (
    PromptError,
    encode,
    first_conversation,
    fitted,
    opened,
    png_file,
    require_images,
    second_conversation,
)

CONFIGS = {
    path.name: YAML(typ="safe").load(path.read_text())
    for path in (Path(__file__).parents[3] / "config").glob("[cm]*.yaml")
}
TOOL = {
    "system": "You may call {tools}.",
    "template": "Question about {it}:\n{image}\n{prompt}",
    "second_round": {"first_scale": 0.5, "template": "<tool_response>\n{image}\n</tool_response>"},
}
RESIZE = '{"name": "resize_image", "arguments": {"action": "resize"}}'
CALL = f"Too small. <tool_call>\n{RESIZE}\n</tool_call>"


def plain(processor, image, prompt="Describe."):
    return encode(processor, first_conversation(image, prompt, {}))


def texts(message):
    return [part.get("text", "IMAGE") for part in message["content"]]


def test_by_default_the_image_precedes_the_prompt():
    image = b"file"
    (user,) = first_conversation(image, "Describe.", {})
    assert user["role"] == "user"
    assert texts(user) == ["IMAGE", "Describe."]
    assert user["content"][0]["image"] is image


def test_braces_in_template_and_system_message_are_kept():
    system, user = first_conversation(b"file", "What is {image} in {this}?", TOOL)
    assert system == {"role": "system", "content": "You may call {tools}."}
    assert texts(user) == ["Question about {it}:\n", "IMAGE", "\nWhat is {image} in {this}?"]


@pytest.mark.parametrize("template", ["{prompt}", "{image}{image}{prompt}"])
def test_a_template_shows_the_image_once(template):
    with pytest.raises(PromptError, match=r"\{image\} once, not [02] times"):
        first_conversation(b"file", "Describe.", {"template": template})


def test_second_round_follows_a_tool_call_only():
    image = b"file"
    first = first_conversation(image, "Describe.", TOOL)
    assert second_conversation(first, "<answer>a fish</answer>", image, TOOL) is None
    assert second_conversation(first, "<tool_call> cut off", image, TOOL) is None
    assert second_conversation(first, CALL, image, {}) is None
    assert second_conversation(first, "In <tool_call> and </tool_call>?", image, TOOL) is None
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
    image = noise_file(0, width, height)
    first = first_conversation(image, "Describe.", TOOL)
    whole = plain(processor, image)
    ((_, rows, columns),) = encode(processor, first)["image_grid_thw"].tolist()
    inputs = encode(processor, second_conversation(first, CALL, image, TOOL))
    grid = inputs["image_grid_thw"].tolist()
    assert grid[0] == [1, rows, columns]
    assert grid[1] == whole["image_grid_thw"].tolist()[0]
    assert abs(2 * rows - grid[1][1]) <= 2
    assert abs(2 * columns - grid[1][2]) <= 2
    # The whole image reaches the model exactly as without a first round.
    assert torch.equal(inputs["pixel_values"][-len(whole["pixel_values"]) :], whole["pixel_values"])


HALVED = {"second_round": {"first_scale": 0.5, "scaling": "evaluation", "template": "{image}"}}


def as_published(image):
    """What `encode_image` of VisionThink's scripts/vllm_tool.py shows in the first round."""
    width, height = image.size
    image = image.resize((width // 2, height // 2), Image.Resampling.LANCZOS)
    width, height = image.size
    if width < 28 or height < 28:
        scale = max(28 / width, 28 / height)
        image = image.resize((int(width * scale), int(height * scale)), Image.Resampling.LANCZOS)
    return image


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((500, 375), (250, 187)),  # sides are rounded down
        ((112, 90), (56, 45)),
        ((30, 57), (28, 52)),  # enlarged to the least side, which a half would not have
        ((28, 28), (28, 28)),  # halved and enlarged: not the pixels it had
        ((200, 40), (280 // 2, 28)),
    ],
)
def test_a_raw_image_is_halved_as_the_authors_evaluate(tiny_model, size, shown):
    processor = tiny_model("qwen2_5_vl")[1]
    file = noise_file(0, *size)
    with Image.open(io.BytesIO(file)) as opened:
        half = as_published(opened.convert("RGB"))
    assert half.size == shown
    first = first_conversation(file, "Describe.", HALVED)
    assert texts(first[0]) == ["IMAGE", "Describe."]
    # It reaches the model as an image of this size would by itself, and so does the whole one.
    one, whole = plain(processor, png_file(half)), plain(processor, file)
    inputs = encode(processor, first)
    torch.testing.assert_close(inputs, one, rtol=0, atol=0)
    second = second_conversation(first, CALL, file, HALVED)
    both = encode(processor, second)["pixel_values"]
    assert torch.equal(both, torch.cat([one["pixel_values"], whole["pixel_values"]]))
    # An engine elsewhere gets the halved file and the whole one as it is, and resizes them itself.
    sent = fitted(processor, second)
    small, large = (p for m in (sent[0], sent[2]) for p in m["content"] if p["type"] == "image")
    assert large["image"] is file
    assert not any(part.get("fitted") or part.get("raw") for part in (small, large))
    with Image.open(io.BytesIO(small["image"])) as image:
        assert (image.format, image.size) == ("PNG", shown)
    torch.testing.assert_close(encode(processor, sent), encode(processor, second), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 90), (20, 27), (27, 400)])
def test_both_rounds_show_at_least_28_pixels_a_side(tiny_model, size):
    processor, file = tiny_model("qwen2_5_vl")[1], noise_file(0, *size)
    first = first_conversation(file, "Describe.", HALVED)
    for message in fitted(processor, second_conversation(first, CALL, file, HALVED)):
        for part in message["content"]:
            if "image" in part:
                with Image.open(io.BytesIO(part["image"])) as image:
                    assert min(image.size) >= 28
                    assert abs(image.width * size[1] - image.height * size[0]) < 28 * sum(size)


@pytest.mark.parametrize("name", families.NAMES)
def test_every_family_can_show_a_halved_image(tiny_model, name):
    inputs = encode(tiny_model(name)[1], first_conversation(noise_file(0, 90, 70), "Why?", HALVED))
    half = plain(tiny_model(name)[1], png_file(as_published(opened(noise_file(0, 90, 70)))), "Why?")
    torch.testing.assert_close(inputs, half, rtol=0, atol=0)


@pytest.mark.parametrize("data", [b"", noise_file(0)[:500]])
@pytest.mark.parametrize("ask", [encode, fitted])
def test_a_raw_image_that_cannot_be_read_is_a_named_failure(tiny_model, ask, data):
    with pytest.raises(PromptError, match=r"^image cannot be read: ."):
        ask(tiny_model("qwen2_5_vl")[1], first_conversation(data, "Describe.", HALVED))


@pytest.mark.parametrize("content", ["resize", RESIZE.replace('"resize"', '"crop"')])
def test_a_wrong_call_is_answered_without_an_image(tiny_model, content):
    processor = tiny_model("qwen2_5_vl")[1]
    first = first_conversation(noise_file(0), "Describe.", TOOL)
    wrong = f"Too small. <tool_call>{content}</tool_call>"
    second = second_conversation(first, wrong + "<|im_end|>", noise_file(0), TOOL)
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": wrong}
    (text,) = texts(second[3])
    assert text.endswith("Countinue your reasoning process inside <think> and </think>.")
    grids = (encode(processor, turns)["image_grid_thw"].tolist() for turns in (first, second))
    assert next(grids) == next(grids)


@pytest.mark.parametrize("medium", ["image", "video"])
@pytest.mark.parametrize("name", families.NAMES)
def test_a_text_with_the_token_of_an_image_or_video_is_rejected(tiny_model, name, medium):
    processor = tiny_model(name)[1]
    token = getattr(processor, f"{medium}_token")
    first, bad = (
        first_conversation(noise_file(0), f"Is it{end}?", {}) for end in ("", f" {token}")
    )
    second = second_conversation(first, f"Is it {token}? {CALL}", noise_file(0), TOOL)
    for role, messages, prefix in (
        ("user", bad, ""),
        ("assistant", second, ""),
        ("prefix", first, f"Again and {token}"),
    ):
        with pytest.raises(PromptError, match=f"the {role} text holds the model's {medium} token"):
            encode(processor, messages, prefix)


@pytest.mark.parametrize("name", families.NAMES)
def test_inputs_fit_generate(tiny_model, name):
    _, processor, _ = tiny_model(name)
    inputs = encode(processor, first_conversation(noise_file(0), "Describe.", {"system": "Think."}))
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape
    assert "token_type_ids" not in inputs
    # Without them Qwen's and GLM's logits change and no error says so.
    assert ("mm_token_type_ids" in inputs) == (name in ("glm4v", "qwen2_5_vl"))
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    assert "Think." in text
    assert "Describe." in text


DAMAGED = {
    "empty": b"",
    "no image": b"<html>This photo is no longer available.</html>",
    "cut off": noise_file(0)[:500],
    "no size": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "a broken stream": noise_file(0)[:60] + b"\xff" * 40 + noise_file(0)[100:],
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("ask", [encode, fitted])
def test_an_image_that_cannot_be_read_is_a_named_failure(tiny_model, ask, data):
    with pytest.raises(PromptError, match=r"^image cannot be read: ."):
        ask(tiny_model("kimi_vl")[1], first_conversation(data, "Describe.", {}))


def test_lack_of_memory_is_not_the_images_fault(tiny_model, monkeypatch):
    def out_of_memory(*_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", out_of_memory)
    with pytest.raises(MemoryError):
        plain(tiny_model("kimi_vl")[1], noise_file(0))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_images_of_every_mode_are_shown(tiny_model, mode):
    inputs = plain(tiny_model("glm4v")[1], png_file(Image.new(mode, (70, 90))))
    assert (inputs["image_grid_thw"].prod() == len(inputs["pixel_values"])).all()


def image_tokens(processor, inputs):
    return int((inputs["input_ids"] == processor.image_token_id).sum())


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (3, 3), (1, 40), (40, 1), (3, 90)])
def test_the_smallest_images_are_shown_in_their_colour(tiny_model, name, size):
    processor, model = tiny_model(name)[1:]
    small, usual = (
        plain(processor, png_file(Image.new("RGB", shape, (255, 0, 0))))
        for shape in (size, (112, 112))
    )
    seen, known = (
        inputs["pixel_values"].reshape(len(inputs["pixel_values"]), 3, -1).mT.reshape(-1, 3)
        for inputs in (small, usual)
    )
    seen, known = seen.unique(dim=0), known.unique(dim=0)
    # Kimi pads with black, as published.
    known = torch.cat([known, seen.new_full((1, 3), -1.0)]) if name == "kimi_vl" else known
    assert torch.cdist(seen, known).min(dim=1).values.max() < 1e-4
    assert image_tokens(processor, small) > 0
    with torch.inference_mode():
        assert model(**small).logits.isfinite().all()


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize("size", [(1, 300), (300, 1), (3, 900), (9000, 30), (7200, 24)])
def test_a_thin_image_is_shown_if_tiles_or_patches_allow(tiny_model, name, size):
    processor, model = tiny_model(name)[1:]
    if name in ("glm4v", "qwen2_5_vl"):
        with pytest.raises(PromptError, match=r"refuses .*: absolute aspect ratio must"):
            plain(processor, noise_file(0, *size))
    else:
        with torch.inference_mode():
            assert model(**plain(processor, noise_file(0, *size))).logits.isfinite().all()


def test_too_long_a_row_of_patches_is_rejected(tiny_checkpoint):
    processor = families.get("kimi_vl").load_processor(
        tiny_checkpoint("kimi_vl"), {"in_token_limit": 4096}
    )
    with pytest.raises(PromptError, match="a side must stay below 512"):
        plain(processor, noise_file(0, 20, 9000))


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("qwen2_5_vl", (3, 900), r"cannot be scaled: .*aspect ratio"),
        *((name, (70, 60), "scaling has to be") for name in ("glm4v", "internvl", "kimi_vl")),
    ],
)
@pytest.mark.parametrize("ask", [encode, fitted])
def test_an_image_that_cannot_be_scaled_has_no_first_round(tiny_model, ask, name, size, message):
    with pytest.raises(PromptError, match=message):
        ask(tiny_model(name)[1], first_conversation(noise_file(0, *size), "Describe.", TOOL))


def test_other_conversations_are_unchanged(tiny_model):
    messages = first_conversation(noise_file(0), "Describe.", {})
    assert fitted(tiny_model("glm4v")[1], messages) is messages


def test_fitted_images_have_the_size_that_the_model_sees(tiny_checkpoint):
    processor = families.get("qwen2_5_vl").load_processor(
        tiny_checkpoint("qwen2_5_vl"), {"min_pixels": 56 * 56, "max_pixels": 224 * 224}
    )
    image = noise_file(0, 400, 300)
    first = first_conversation(image, "Describe.", TOOL)
    both = second_conversation(first, CALL, image, TOOL)
    before = repr(both)
    pictures = fitted(processor, both)
    parts = [p for m in (pictures[1], pictures[3]) for p in m["content"] if p["type"] == "image"]
    assert [part["fitted"] for part in parts] == [True, True]
    inputs = encode(processor, both)
    for part, (_, rows, columns) in zip(parts, inputs["image_grid_thw"].tolist(), strict=True):
        with Image.open(io.BytesIO(part["image"])) as image:
            assert image.format == "PNG"
            assert image.size == (14 * columns, 14 * rows)
    assert repr(both) == before
    again = encode(processor, pictures)
    torch.testing.assert_close(inputs, again, rtol=0, atol=0)
    assert fitted(processor, pictures) == pictures


@pytest.mark.parametrize("name", families.NAMES)
def test_the_model_continues_a_prefix_like_its_own_text(tiny_model, name):
    processor, model = tiny_model(name)[1:]
    messages = first_conversation(noise_file(0), "Describe.", {})
    prompt, inputs = encode(processor, messages), encode(processor, messages, "a fish: ")
    assert inputs.keys() == prompt.keys()
    said = processor.tokenizer("a fish: ", add_special_tokens=False)["input_ids"]
    length = prompt["input_ids"].shape[1]
    assert inputs["input_ids"][0, length:].tolist() == said
    assert inputs["attention_mask"].shape == inputs["input_ids"].shape
    # The model goes on as if it had generated it.
    generated = model.generate(
        **prompt,
        max_new_tokens=len(said) + 1,
        prefix_allowed_tokens_fn=lambda _, ids: [[*said, 0][len(ids) - length]],
        output_logits=True,
        return_dict_in_generate=True,
    )
    with torch.inference_mode():
        logits = model(**inputs).logits
    torch.testing.assert_close(logits[:, -1], generated.logits[-1], atol=1e-4, rtol=1e-4)


def test_no_special_token_precedes_a_prefix(tiny_checkpoint):
    processor = families.get("glm4v").load_processor(tiny_checkpoint("glm4v"))
    end = processor.tokenizer.convert_tokens_to_ids("<|user|>")
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", end)]
    )
    assert processor.tokenizer("a fish")["input_ids"][0] == end
    messages = first_conversation(noise_file(0), "Describe.", {})
    prompt, inputs = (encode(processor, messages, prefix) for prefix in ("", "a fish"))
    assert inputs["input_ids"][0, prompt["input_ids"].shape[1]] != end


@pytest.mark.parametrize("name", families.NAMES)
def test_a_prompt_with_another_vision_token_is_encoded(tiny_model, name):
    processor, model = tiny_model(name)[1:]
    marks = "<|vision_start|> <|begin_of_image|> <img> <|media_start|> <|im_end|>"
    with torch.inference_mode():
        assert model(**plain(processor, noise_file(0), marks)).logits.isfinite().all()


TEXT_ONLY = {
    "a string is added": "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}",
    "a method of strings": "{% for m in messages %}{{ m['content'].strip() }}{% endfor %}",
    "printed as it is": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    "the texts alone": "{% for m in messages %}{% for p in m['content'] %}{{ p.text }}{% endfor %}"
    "{% endfor %}",
    "refused by itself": "{{ raise_exception('Only text is supported.') }}",
    "an unknown filter": "{{ messages | from_another_library }}",
    "not closed": "{% for m in messages %}{{ m['content'] }}",
    "no messages": "Hello",
}


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize("case", TEXT_ONLY)
def test_a_template_for_text_only_is_named_before_a_model_is_loaded(tiny_checkpoint, name, case):
    processor = families.get(name).load_processor(tiny_checkpoint(name))
    require_images(processor, {"system": "Think.", **HALVED})
    processor.chat_template = TEXT_ONLY[case]
    with pytest.raises(ValueError, match=r"cannot show the model an image \(.+\)\. It may be one"):
        require_images(processor, {})


def test_a_template_that_refuses_system_messages_is_named(tiny_checkpoint):
    processor = families.get("qwen2_5_vl").load_processor(tiny_checkpoint("qwen2_5_vl"))
    refusal = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system!') }}{% endif %}"
    )
    processor.chat_template = refusal + processor.chat_template
    require_images(processor, {})
    with pytest.raises(ValueError, match="No system!"):
        require_images(processor, {"system": "Think."})


HELPFUL = "You are a helpful assistant."
# What the models' authors add to a prompt, from their code and cards: system message, template.
# Long texts by their SHA-256.
PUBLISHED = {
    "glm-4.1v": (None, None),
    "kimi-vl": ("You are a helpful assistant", None),
    "internvl3.5": ("a2cb9e8de918a3e379ee49845f6ebc851d6f449b4d88f6523d2b49edae502101", None),
    "r1-onevision": (
        HELPFUL,
        "{image}Hint: Please answer the question and provide the final answer at the end. "
        "Question: {prompt}",
    ),
    "openvlthinker": (
        HELPFUL,
        "{image}Hint: Please answer the question requiring an answer.\nQuestion: {prompt}",
    ),
    "visionthink": (
        "e730df60665863e39ad32375eb0392f6a1f781ec09c27b8dad9cc0010b3702c0",
        "3b07b2932130936cf9848ff502e4459c8def9ad837603a7a0fa1fcaf397c1f8a",
    ),
    "vl-rethinker": (
        HELPFUL,
        "{image}{prompt}\n\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.",
    ),
}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("key", PUBLISHED)
def test_models_are_prompted_with_the_published_additions(settings, key):
    model, prompt = settings["models"][key], settings["prompts"][settings["prompt"]]
    for setting, published in zip(("system", "template"), PUBLISHED[key], strict=True):
        text = model.get(setting)
        assert published == text or published == digest(text), setting
    *_, user = messages = first_conversation(b"file", prompt, model)
    said = "".join(texts(user))
    assert (said.count(prompt), "{prompt}" in said, "{image}" in said) == (1, False, False)
    assert [m["role"] for m in messages] == ["system", "user"][not model.get("system") :]
    second = second_conversation(messages, CALL, b"file", model)
    assert (second is not None) == (key == "visionthink")
    if second:
        assert model["second_round"]["first_scale"] == 0.5
        assert digest(model["second_round"]["template"]) == (
            "109a03b55d4b03e415cb51aced450f17d84333f2079fb6a602802fa3878a800e"
        )


def test_the_additions_to_every_models_prompt_are_known():
    assert all(settings["models"].keys() == PUBLISHED.keys() for settings in CONFIGS.values())
