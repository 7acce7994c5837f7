import io

import pytest
from noise import noise
from PIL import Image

from imagenet_think.inference.chat import PromptError, encode, first_conversation
from imagenet_think.inference.engines import Request
from imagenet_think.parsing.outcomes import EXCLUSIONS, FAILURES, STATUSES, reason

PROMPT = "Describe."


def jpeg(width, height):
    data = io.BytesIO()
    noise(1, width, height).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def refusal(tiny_model):
    """The error with which a real processor refuses to be asked."""
    _, processor, _ = tiny_model("qwen2_5_vl")

    def ask(image, prompt=PROMPT):
        with pytest.raises(PromptError) as error:
            encode(processor, first_conversation(image, prompt, {}))
        return str(error.value)

    return ask


def test_an_image_that_cannot_be_read(refusal):
    assert reason("error", refusal(jpeg(60, 60)[:200])) == "unreadable_image"


def test_a_prompt_that_holds_the_image_token(refusal, tiny_model):
    _, processor, _ = tiny_model("qwen2_5_vl")
    assert reason("error", refusal(jpeg(60, 60), f"A {processor.image_token}?")) == "image_token"


def test_an_image_that_is_too_narrow(refusal):
    data = io.BytesIO()
    Image.new("RGB", (6000, 4)).save(data, "PNG")
    assert reason("error", refusal(data.getvalue())) == "aspect_ratio"


def test_a_template_that_drops_the_image(tiny_model, monkeypatch):
    _, processor, _ = tiny_model("qwen2_5_vl")
    monkeypatch.setattr(processor, "chat_template", "{{ messages[0].content[-1].text }}")
    with pytest.raises(PromptError) as error:
        encode(processor, first_conversation(jpeg(60, 60), PROMPT, {}))
    assert reason("error", str(error.value)) == "image_dropped"


def test_a_prompt_that_is_longer_than_the_context(tiny_model):
    from imagenet_think.inference.engines.transformers_engine import TransformersEngine

    _, processor, model = tiny_model("qwen2_5_vl")
    engine = TransformersEngine(
        model, processor, decoding={"temperature": 0.0}, loop=None, stop_ids=[], batch_size=1
    )
    engine.context = 4
    request = Request("a", first_conversation(jpeg(60, 60), PROMPT, {}), 1, 8)
    (response,) = engine.generate([request])
    assert reason("error", response.error) == "context"


def test_an_error_of_the_second_round(refusal):
    assert reason("error", f"second round: {refusal(b'')}") == "unreadable_image"


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
