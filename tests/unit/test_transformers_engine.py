from contextlib import contextmanager

import pytest
import torch
from noise import noise

from imagenet_think import families
from imagenet_think.chat import encode, first_conversation
from imagenet_think.draws import row_seed
from imagenet_think.engines import Request, transformers_engine
from imagenet_think.engines.transformers_engine import (
    TransformersEngine,
    check_sight,
    choose_hardware,
)

ASKED = {"device": "auto", "dtype": "auto", "attention": "auto"}
SIZES = [(70, 90), (40, 40), (110, 60), (90, 90), (56, 140)]


def requests(count=5):
    """Requests of different lengths, so that a batch of them is padded."""
    prompts = ["Describe.", "What is in this image? Think step by step.", "Why?"]
    return [
        Request(
            key=f"image {i}",
            messages=first_conversation(noise(i, *SIZES[i % 5]), prompts[i % 3], {}),
            seed=row_seed(0, f"image {i}", "m", 1),
        )
        for i in range(count)
    ]


class Recording(TransformersEngine):
    """Keeps the tokens of its rows: text alone may hide a difference in broken characters."""

    def _response(self, request, prompt, tokens):
        response = super()._response(request, prompt, tokens)
        self.tokens = getattr(self, "tokens", {})
        self.tokens[request.key] = tokens[: response.completion_tokens]
        return response


def engine(tiny_model, name, batch_size=3, stop=True, **decoding):
    family, processor, model = tiny_model(name)
    return Recording(
        model,
        processor,
        decoding={"max_new_tokens": 20, **decoding},
        stop_ids=families.stop_ids(family, processor, model) if stop else [],
        batch_size=batch_size,
    )


def by_key(responses):
    responses = list(responses)
    found = {response.key: response for response in responses}
    assert len(found) == len(responses)
    return found


def alone(tiny_model, name, request, **options):
    """The tokens that transformers' own `generate` gives for one request."""
    family, processor, model = tiny_model(name)
    inputs = encode(processor, request.messages)
    ids = model.generate(
        **inputs,
        max_new_tokens=20,
        eos_token_id=families.stop_ids(family, processor, model),
        **{"do_sample": False, **options},
    )
    return ids[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("name", families.NAMES)
def test_batched_greedy_equals_one_by_one(tiny_model, name, penalty):
    batched = engine(tiny_model, name, repetition_penalty=penalty)
    found = by_key(batched.generate(requests()))
    for request in requests():
        expected = alone(tiny_model, name, request, repetition_penalty=penalty)
        assert batched.tokens[request.key] == expected
        assert found[request.key].text == tiny_model(name)[1].tokenizer.decode(expected)
    assert len({response.text for response in found.values()}) == len(found)


@pytest.mark.parametrize("name", families.NAMES)
def test_top_k_1_is_greedy_as_in_transformers(tiny_model, name):
    decoding = {"temperature": 1.0, "top_k": 1, "top_p": 1e-5, "repetition_penalty": 1.1}
    batched = engine(tiny_model, name, **decoding)
    list(batched.generate(requests()))
    for request in requests():
        expected = alone(tiny_model, name, request, **{**decoding, "do_sample": True})
        assert batched.tokens[request.key] == expected


@pytest.mark.parametrize("name", families.NAMES)
def test_a_sampled_row_does_not_depend_on_the_rows_beside_it(tiny_model, name):
    decoding = {"temperature": 0.8, "top_p": 0.95}
    together = by_key(engine(tiny_model, name, 5, **decoding).generate(requests()))
    reverse = by_key(engine(tiny_model, name, 2, **decoding).generate(requests()[::-1]))
    single = by_key(engine(tiny_model, name, 1, **decoding).generate(requests()))
    assert together == reverse == single
    other = [Request(r.key, r.messages, r.seed + 1) for r in requests()]
    again = by_key(engine(tiny_model, name, 5, **decoding).generate(other))
    assert all(again[key].text != together[key].text for key in together)


def test_tokens_are_counted_from_the_row_alone(tiny_model):
    _, processor, _ = tiny_model("qwen2_5_vl")
    found = by_key(engine(tiny_model, "qwen2_5_vl", 5).generate(requests()))
    for request in requests():
        ids = encode(processor, request.messages)["input_ids"]
        response = found[request.key]
        assert response.prompt_tokens == ids.shape[1]
        assert response.image_tokens == (ids == processor.image_token_id).sum() > 0
        assert 0 < response.completion_tokens <= 20


def test_a_row_ends_at_its_end_token_and_keeps_it(tiny_model):
    _, processor, model = tiny_model("kimi_vl")
    unstopped = engine(tiny_model, "kimi_vl", 5, stop=False)
    long = by_key(unstopped.generate(requests()))["image 0"]
    assert (long.finish_reason, long.completion_tokens) == ("length", 20)
    tokens = unstopped.tokens["image 0"]
    last = next(i for i in range(3, 20) if tokens[i] not in tokens[:i])
    stopping = Recording(
        model,
        processor,
        decoding={"max_new_tokens": 20},
        stop_ids=[tokens[last]],
        batch_size=5,
    )
    short = by_key(stopping.generate(requests()))["image 0"]
    assert (short.finish_reason, short.completion_tokens) == ("stop", last + 1)
    assert short.text == processor.tokenizer.decode(tokens[: last + 1])


@contextmanager
def always(model, token):
    """Make the model say one token only."""

    def force(module, arguments, scores):
        scores[..., token] = scores.max() + 1
        return scores

    hook = model.lm_head.register_forward_hook(force)
    try:
        yield
    finally:
        hook.remove()


def test_special_tokens_stay_in_the_text(tiny_model):
    _, processor, model = tiny_model("glm4v")
    with always(model, processor.tokenizer.convert_tokens_to_ids("<|user|>")):
        (response,) = engine(tiny_model, "glm4v").generate(requests(1))
    assert (response.text, response.finish_reason) == ("<|user|>", "stop")


def test_a_runaway_row_is_a_loop(tiny_model):
    _, processor, model = tiny_model("qwen2_5_vl")
    with always(model, processor.tokenizer.encode("fish")[0]):
        (response,) = engine(tiny_model, "qwen2_5_vl", max_new_tokens=80).generate(requests(1))
    assert (response.finish_reason, response.completion_tokens) == ("loop", 80)


def test_a_request_that_cannot_be_encoded_costs_only_itself(tiny_model):
    image = noise(0, 2100, 10)  # Qwen refuses sides of more than 200 to 1
    bad = Request("thin", first_conversation(image, "Describe.", {}), 0)
    token = Request("token", first_conversation(noise(1), "<|image_pad|>", {}), 0)
    good = requests(3)
    found = by_key(
        engine(tiny_model, "qwen2_5_vl").generate([good[0], bad, good[1], token, good[2]])
    )
    assert found["thin"].finish_reason == found["token"].finish_reason == "error"
    assert found["thin"].text is None
    assert "aspect ratio" in found["thin"].error
    assert "image token" in found["token"].error
    expected = by_key(engine(tiny_model, "qwen2_5_vl").generate(good))
    assert {key: found[key] for key in expected} == expected


def test_requests_are_taken_as_there_is_room(tiny_model):
    taken = []

    def source():
        for request in requests():
            taken.append(request.key)
            yield request

    responses = engine(tiny_model, "qwen2_5_vl", batch_size=2).generate(source())
    next(responses)
    assert taken == ["image 0", "image 1"]
    assert len(list(responses)) == 4


def test_nothing_asked_gives_nothing(tiny_model):
    assert list(engine(tiny_model, "qwen2_5_vl").generate([])) == []


@pytest.mark.parametrize("name", families.NAMES)
def test_a_blind_model_is_found_out(tiny_model, name):
    _, processor, model = tiny_model(name)
    check_sight(model, processor)
    tower = next(m for n, m in model.named_modules() if n in ("model.visual", "model.vision_tower"))

    def blind(module, arguments, output):
        for tensor in output.values():
            if isinstance(tensor, torch.Tensor):
                tensor.zero_()

    hook = tower.register_forward_hook(blind)
    try:
        with pytest.raises(ValueError, match="it is blind"):
            check_sight(model, processor)
    finally:
        hook.remove()


def pretend(monkeypatch, *, cuda, flash):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(transformers_engine, "is_flash_attn_2_available", lambda: flash)


@pytest.mark.parametrize(
    ("cuda", "flash", "asked", "device", "dtype", "attention"),
    [
        (False, False, {}, "cpu", "float32", "sdpa"),
        (False, True, {}, "cpu", "float32", "sdpa"),
        (True, False, {}, "cuda", "bfloat16", "sdpa"),
        (True, True, {}, "cuda", "bfloat16", "flash_attention_2"),
        (True, True, {"dtype": "float32"}, "cuda", "float32", "sdpa"),
        (True, True, {"attention": "sdpa"}, "cuda", "bfloat16", "sdpa"),
        (True, True, {"device": "cpu"}, "cpu", "float32", "sdpa"),
        (True, True, {"device": "cuda:1"}, "cuda:1", "bfloat16", "flash_attention_2"),
    ],
)
def test_auto_takes_the_best_there_is(monkeypatch, cuda, flash, asked, device, dtype, attention):
    pretend(monkeypatch, cuda=cuda, flash=flash)
    hardware = choose_hardware(ASKED | asked)
    assert (hardware.device, hardware.dtype, hardware.attention) == (device, dtype, attention)
    assert hardware.torch_dtype == getattr(torch, dtype)


@pytest.mark.parametrize(
    ("cuda", "asked", "why"),
    [
        (False, {"attention": "flash_attention_2"}, "not a CUDA device"),
        (True, {"attention": "flash_attention_2"}, "flash-attn is not installed"),
        (True, {"attention": "flash_attention_2", "dtype": "float32"}, "the dtype is float32"),
        (False, {"device": "cuda"}, "torch sees no CUDA device"),
        (False, {"dtype": "fp8"}, "'fp8'; known are auto"),
        (False, {"attention": "paged"}, "'paged'; known are auto"),
    ],
)
def test_what_cannot_be_had_is_an_error(monkeypatch, cuda, asked, why):
    pretend(monkeypatch, cuda=cuda, flash=False)
    with pytest.raises(ValueError, match=why):
        choose_hardware(ASKED | asked)
