import pytest
from noise import noise_file

from imagenet_think.inference.chat import PromptError, encode, first_conversation
from imagenet_think.inference.engines import Request
from imagenet_think.inference.engines.transformers_engine import TransformersEngine
from imagenet_think.parsing.outcomes import EXCLUSIONS, FAILURES, STATUSES, reason

PROMPT = "Describe."


@pytest.mark.parametrize(
    ("image", "prompt", "template", "expected"),
    [
        (noise_file(1)[:200], PROMPT, None, "unreadable_image"),
        (noise_file(1), "A {image_token}?", None, "image_token"),
        (noise_file(1, 6000, 4), PROMPT, None, "aspect_ratio"),
        (noise_file(1), PROMPT, "{{ messages[0].content[-1].text }}", "image_dropped"),
    ],
)
def test_errors_of_a_processor(tiny_model, monkeypatch, image, prompt, template, expected):
    _, processor, _ = tiny_model("qwen2_5_vl")
    monkeypatch.setattr(processor, "chat_template", template or processor.chat_template)
    prompt = prompt.format(image_token=processor.image_token)
    with pytest.raises(PromptError) as error:
        encode(processor, first_conversation(image, prompt, {}))
    assert reason("error", str(error.value)) == expected
    assert reason("error", f"second round: {error.value}") == expected


def test_a_prompt_that_is_longer_than_the_context(tiny_model):
    _, processor, model = tiny_model("qwen2_5_vl")
    engine = TransformersEngine(
        model, processor, decoding={"temperature": 0.0}, loop=None, stop_ids=[], batch_size=1
    )
    engine.context = 4
    request = Request("a", first_conversation(noise_file(1), PROMPT, {}), 1, 8)
    (response,) = engine.generate([request])
    assert reason("error", response.error) == "context"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("no image token in the model's inputs: the chat template dropped it", "image_dropped"),
        ("the prompt has 70000 tokens, and the model's context 65536", "context"),
        ("The decoder prompt (length 900) is longer than the maximum model length", "context"),
        ("This model's maximum context length is 4096 tokens", "context"),
        ("out of memory, alone, at 900 tokens: CUDA out of memory", "memory"),
        ("status 400: no", "refused"),
        (None, "refused"),
    ],
)
def test_errors_of_engines(error, expected):
    assert reason("error", error) == expected


def test_a_status_is_its_own_reason():
    assert {reason(status, None) for status in STATUSES} == {"ok", *FAILURES, "refused"}
    assert not FAILURES.keys() & EXCLUSIONS.keys()


def test_an_unknown_status_is_an_error():
    with pytest.raises(ValueError, match="unknown status 'fine'"):
        reason("fine", None)
