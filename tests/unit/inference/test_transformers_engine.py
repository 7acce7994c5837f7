import copy
import inspect
import random
import threading
import time
from contextlib import contextmanager

import asking
import pytest
import torch
from asking import LOOP
from flash_emulation import emulated_flash
from noise import noise_file

from imagenet_think.inference import checkpoints, families
from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import (
    EngineError,
    Request,
    kv_cache,
    prefetch,
    transformers_engine,
)
from imagenet_think.inference.engines.model_runner import ModelRunner
from imagenet_think.inference.engines.transformers_engine import TransformersEngine
from imagenet_think.inference.seeding import row_seed
from imagenet_think.inference.token_sampler import TokenSampler
from imagenet_think.inference.token_text import decode

SIZES = [(70, 90), (40, 40), (110, 60), (90, 90), (56, 140)]
NO_TOKEN = 10**9


def requests(count=5, limits=(20,)):
    """Requests of different lengths, so that a batch of them is padded."""
    prompts = ["Describe.", "What is in this image? Think step by step.", "Why?"]
    return [
        Request(
            key=f"image {i}",
            messages=first_conversation(noise_file(i, *SIZES[i % 5]), prompts[i % 3], {}),
            seed=row_seed(0, f"image {i}", "m", 1),
            max_new_tokens=limits[i % len(limits)],
        )
        for i in range(count)
    ]


def uneven(count, seed=0):
    """Requests whose lengths differ as those of thoughts do."""
    draw = random.Random(seed)
    return requests(count, [int(min(90, draw.expovariate(1 / 20) + 1)) for _ in range(count)])


class Recording(TransformersEngine):
    """Keeps the tokens of its rows: text alone may hide a difference in broken characters."""

    def _response(self, row, reason):
        self.tokens = getattr(self, "tokens", {})
        self.tokens[row.request.key] = list(row.tokens)
        return super()._response(row, reason)


def engine(tiny_model, name, batch_size=3, *, stop=True, loop=LOOP, cached_tokens=None, **decoding):
    family, processor, model = tiny_model(name)
    return Recording(
        model,
        processor,
        decoding=decoding,
        loop=loop,
        stop_ids=checkpoints.stop_ids(family, processor, model.name_or_path) if stop else [],
        batch_size=batch_size,
        cached_tokens=cached_tokens,
    )


def by_key(responses):
    responses = list(responses)
    found = {response.key: response for response in responses}
    assert len(found) == len(responses)
    return found


ALONE = {}
"""The results of `alone`: several tests generate from the same requests."""


def alone(tiny_model, name, request, stop=True, **options):
    """The tokens that transformers' own `generate` gives for one request."""
    asked = (name, request.key, request.max_new_tokens, stop, *sorted(options.items()))
    if asked not in ALONE:
        family, processor, model = tiny_model(name)
        inputs = encode(processor, request.messages)
        ends = checkpoints.stop_ids(family, processor, model.name_or_path) if stop else NO_TOKEN
        options = {"do_sample": False, "max_new_tokens": request.max_new_tokens} | options
        ids = model.generate(**inputs, eos_token_id=ends, **options)
        ALONE[asked] = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return ALONE[asked]


def check_alone(tiny_model, name, found, asked, stop=False, **options):
    """Check that each row has the tokens that it has alone."""
    for request in asked:
        assert found.tokens[request.key] == alone(tiny_model, name, request, stop, **options)


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize(
    ("segments", "rows", "cached_tokens"),
    [
        *[(1, 6, 1024), (4, 6, None), (4, 1, None), (8, 9, None)],
        *(
            pytest.param(segments, rows, None, marks=pytest.mark.slow)
            for segments, rows in [(1, 14), (2, 5), (3, 8), (5, 13), (6, 2), (7, 12), (8, 10)]
        ),
    ],
)
def test_greedy_rows_in_flight_equal_each_row_alone(
    tiny_model, monkeypatch, name, segments, rows, cached_tokens
):
    monkeypatch.setattr(kv_cache, "SEGMENTS", segments)
    asked = uneven(14)
    together = engine(tiny_model, name, rows, stop=False, loop=None, cached_tokens=cached_tokens)
    found = by_key(together.generate(asked))
    check_alone(tiny_model, name, together, asked)
    tokenizer = tiny_model(name)[1].tokenizer
    texts = {key: decode(tokenizer, tokens) for key, tokens in together.tokens.items()}
    assert {key: response.text for key, response in found.items()} == texts
    assert len({response.text for response in found.values()}) == len(found)
    used = together.statistics
    assert used["row_steps"] == sum(r.max_new_tokens - 1 for r in asked)
    # A static batch waits for its longest row each time.
    if not cached_tokens:
        static = sum(max(r.max_new_tokens for r in asked[i : i + rows]) for i in range(0, 14, rows))
        assert used["steps"] < static


@pytest.mark.parametrize("argument", ["past_key_values", "cache"])
@pytest.mark.parametrize("name", families.NAMES)
def test_a_cache_is_passed_under_the_name_that_the_model_has_for_it(
    tiny_model, monkeypatch, name, argument
):
    model, asked, passed = tiny_model(name)[2], requests(3), []
    wanted = [alone(tiny_model, name, request, stop=False) for request in asked]

    def rename(module):
        forward, signature = module.forward, inspect.signature(module.forward)
        (own,) = {"past_key_values", "cache"} & set(signature.parameters)

        def renamed(*args, **kwargs):
            passed.append(argument in kwargs)
            if argument in kwargs:  # else it is the model itself that calls its part
                kwargs[own] = kwargs.pop(argument)
            return forward(*args, **kwargs)

        parameters = signature.parameters.values()
        renamed.__signature__ = signature.replace(
            parameters=[p.replace(name=argument) if p.name == own else p for p in parameters]
        )
        monkeypatch.setattr(module, "forward", renamed)

    rename(model)
    rename(model.model.language_model)
    batched = engine(tiny_model, name, stop=False, loop=None)
    list(batched.generate(asked))
    assert [batched.tokens[request.key] for request in asked] == wanted
    assert sum(passed) >= 2 + batched.statistics["steps"]  # the first prompt is prefilled alone


@pytest.mark.parametrize("name", families.NAMES)
@pytest.mark.parametrize(
    "decoding",
    [
        {"repetition_penalty": 1.3},
        {"temperature": 1.0, "top_k": 1, "top_p": 1e-5, "repetition_penalty": 1.1},
    ],
    ids=["penalty", "top_k 1"],
)
def test_tokens_and_ends_are_those_of_transformers(tiny_model, name, decoding):
    batched = engine(tiny_model, name, loop=None, **decoding)
    list(batched.generate(requests()))
    sample = {"do_sample": "top_k" in decoding}
    check_alone(tiny_model, name, batched, requests(), stop=True, **decoding, **sample)


@pytest.mark.parametrize("name", families.NAMES)
def test_a_sampled_row_does_not_depend_on_the_rows_beside_it(tiny_model, name):
    decoding = {"temperature": 0.8, "top_p": 0.95}
    together = by_key(engine(tiny_model, name, 5, **decoding).generate(requests()))
    reverse = by_key(engine(tiny_model, name, 2, **decoding).generate(requests()[::-1]))
    single = by_key(engine(tiny_model, name, 1, **decoding).generate(requests()))
    assert together == reverse == single
    other = [Request(r.key, r.messages, r.seed + 1, r.max_new_tokens) for r in requests()]
    again = by_key(engine(tiny_model, name, 5, **decoding).generate(other))
    assert all(again[key].text != together[key].text for key in together)


def own_copy(tiny_model, name):
    """A family with a copy of its model, whose settings a test may change."""
    family, processor, model = tiny_model(name)
    return family, processor, copy.deepcopy(model)


@pytest.mark.parametrize("name", families.NAMES)
def test_flash_attention_generates_the_same_as_sdpa(tiny_model, monkeypatch, name):
    asked = uneven(8)
    own = own_copy(tiny_model, name)
    with emulated_flash(own[2], monkeypatch) as kernels:
        rows = engine(lambda _: own, name, 4, stop=False, loop=None)
        assert rows.record["attention"] == "flash_attention_2"
        list(rows.generate(asked))
    assert kernels.varlen_calls
    layers, latent = own[2].config.text_config.num_hidden_layers, name == "kimi_vl"
    assert kernels.cache_calls == (0 if latent else layers * rows.statistics["steps"])
    kernel = "latents in 4 segments" if latent else "flash_attn_with_kvcache"
    assert rows.record["kv_cache"]["attention"] == kernel
    check_alone(tiny_model, name, rows, asked)


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
        model, processor, decoding={}, loop=LOOP, stop_ids=[tokens[last]], batch_size=5
    )
    short = by_key(stopping.generate(requests()))["image 0"]
    assert (short.finish_reason, short.completion_tokens) == ("stop", last + 1)
    assert short.text == processor.tokenizer.decode(tokens[: last + 1])


def test_a_prefix_is_continued_and_not_repeated(tiny_model):
    _, processor, model = tiny_model("glm4v")
    (request,) = requests(1)
    started = Request(request.key, request.messages, 0, 10, prefix="<think>The image")
    (response,) = (said := engine(tiny_model, "glm4v", stop=False)).generate([started])
    inputs = encode(processor, request.messages, "<think>The image")
    ids = model.generate(**inputs, max_new_tokens=10, eos_token_id=NO_TOKEN, do_sample=False)
    assert said.tokens["image 0"] == ids[0, inputs["input_ids"].shape[1] :].tolist()
    assert response.prompt_tokens == inputs["input_ids"].shape[1]


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


def test_a_runaway_row_is_ended_as_a_loop(tiny_model):
    _, processor, model = tiny_model("qwen2_5_vl")
    with always(model, processor.tokenizer.encode("fish")[0]):
        (response,) = engine(tiny_model, "qwen2_5_vl").generate(requests(1, [500]))
        (short,) = engine(tiny_model, "qwen2_5_vl").generate(requests(1, [31]))
        (last,) = engine(tiny_model, "qwen2_5_vl").generate(requests(1, [33]))
    assert (response.finish_reason, response.completion_tokens) == ("loop", 32)
    assert (short.finish_reason, short.completion_tokens) == ("length", 31)
    assert (last.finish_reason, last.completion_tokens) == ("loop", 32)


def test_a_request_that_cannot_be_encoded_costs_only_itself(tiny_model):
    def asked(key, image, prompt="Describe."):
        return Request(key, first_conversation(image, prompt, {}), 0, 20)

    bad = [
        asked("thin", noise_file(0, 2100, 7)),  # Qwen refuses sides of more than 200 to 1
        asked("broken", noise_file(1)[:200]),
        asked("token", noise_file(1), "<|image_pad|>"),
        asked("long", noise_file(1), "word " * 5000),
    ]
    good = requests(3)
    mixed = [bad[0], good[0], bad[1], bad[2], good[1], bad[3], good[2]]
    found = by_key(engine(tiny_model, "qwen2_5_vl").generate(mixed))
    errors = {key: r.error for key, r in found.items() if r.finish_reason == "error"}
    assert set(errors) == {"thin", "broken", "token", "long"}
    assert "aspect ratio" in errors["thin"]
    assert "image cannot be read" in errors["broken"]
    assert "image token" in errors["token"]
    assert "the model's context 4096" in errors["long"]
    assert all(found[key].text is None for key in errors)
    expected = by_key(engine(tiny_model, "qwen2_5_vl").generate(good))
    assert {key: found[key] for key in expected} == expected


def test_a_row_ends_where_the_context_does(tiny_model):
    own = own_copy(tiny_model, "internvl")
    (request,) = requests(1, [1000])
    length = encode(own[1], request.messages)["input_ids"].shape[1]
    own[2].config.text_config.max_position_embeddings = length + 7
    (response,) = engine(lambda _: own, "internvl", stop=False, loop=None).generate([request])
    assert (response.finish_reason, response.completion_tokens) == ("length", 7)


def memory_for(rows, real, count):
    """Make a function fail as on a device that has memory for so many rows."""

    def limited(*arguments):
        if count(*arguments) > rows:
            raise torch.OutOfMemoryError(f"no memory for {count(*arguments)} rows")
        return real(*arguments)

    return limited


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        (ModelRunner, "step", lambda self, tokens: len(tokens)),
        (ModelRunner, "prefill", lambda self, inputs: len(inputs["input_ids"])),
        (TokenSampler, "__call__", lambda self, scores, first, draws: len(draws)),
    ],
    ids=["step", "prefill", "sampler"],
)
def test_out_of_memory_takes_fewer_rows_and_goes_on(
    tiny_model, monkeypatch, caplog, owner, name, count
):
    monkeypatch.setattr(owner, name, memory_for(2, getattr(owner, name), count))
    small = engine(tiny_model, "glm4v", 16, stop=False, loop=None)
    found = by_key(small.generate(uneven(12)))
    assert len(found) == 12
    if name == "prefill":
        assert (small.prompts, small.bound) == (2, 16)
    else:
        assert small.bound == 2
    *_, last = events = small.record["out_of_memory"]
    assert {event["during"] for event in events} <= {"prefill", "step"}
    assert all(event["error"] == f"no memory for {event['rows']} rows" for event in events)
    assert (last["bound"], last["prompts"]) == (small.bound, small.prompts)
    assert len(events) == caplog.text.count("out of memory")
    assert "out of memory" in caplog.text
    check_alone(tiny_model, "glm4v", small, uneven(12))


def test_in_bfloat16_a_row_has_the_bounds_with_which_it_was_computed(tiny_model, monkeypatch):
    family, processor, model = own_copy(tiny_model, "glm4v")
    model.to(torch.bfloat16)
    computed = (
        "sdpa, decoding with sdpa in 4 segments, bfloat16, at most {} rows, 4 prompts at a time"
    )
    rows = engine(lambda _: (family, processor, model), "glm4v", 4, stop=False, loop=None)
    assert len(list(rows.generate(uneven(3)))) == 3
    assert rows.record["computation"] == computed.format(4)
    step = memory_for(2, ModelRunner.step, lambda self, tokens: len(tokens))
    monkeypatch.setattr(ModelRunner, "step", step)
    assert len(list(rows.generate(uneven(3)))) == 3
    assert rows.record["computation"] == computed.format(2)


def test_a_row_for_which_there_is_no_memory_alone_is_an_error_and_costs_no_other(
    tiny_model, monkeypatch
):
    def tokens(self, inputs):
        return inputs["input_ids"].shape[1]

    monkeypatch.setattr(ModelRunner, "prefill", memory_for(200, ModelRunner.prefill, tokens))
    large = Request("large", first_conversation(noise_file(1), "word " * 300, {}), 0, 5)
    asked = [*requests(2, [5]), large, *requests(9, [5])[2:]]
    small = engine(tiny_model, "qwen2_5_vl", 4, loop=None)
    found = by_key(small.generate(asked))
    assert found["large"].error.startswith("out of memory, alone, at")
    assert small.record["out_of_memory"][-1]["bound"] == 4
    assert sum(response.finish_reason == "error" for response in found.values()) == 1
    assert small.bound == 4
    expected = by_key(engine(tiny_model, "qwen2_5_vl", 4, loop=None).generate(requests(9, [5])))
    assert {key: found[key] for key in expected} == expected


def test_a_step_without_memory_for_one_row_is_an_error_of_that_row(tiny_model, monkeypatch):
    step = memory_for(0, ModelRunner.step, lambda self, tokens: len(tokens))
    monkeypatch.setattr(ModelRunner, "step", step)
    small = engine(tiny_model, "glm4v", 4, stop=False)
    found = by_key(small.generate(requests(3)))
    assert len(found) == 3
    assert all(r.error.startswith("out of memory, alone, at") for r in found.values())
    events = small.record["out_of_memory"]
    assert [(event["during"], event["rows"]) for event in events[-3:]] == [("step", 1)] * 3


def test_a_device_without_memory_is_an_error_of_the_job_and_of_no_row(tiny_model, monkeypatch):
    def none(self, inputs):
        raise torch.OutOfMemoryError("all is taken")

    monkeypatch.setattr(ModelRunner, "prefill", none)
    full = engine(tiny_model, "glm4v")
    with pytest.raises(EngineError, match=r"before the first row.*see that the device is free"):
        list(full.generate(requests(3)))
    assert [event["error"] for event in full.record["out_of_memory"]] == ["all is taken"]


def test_a_cache_that_cannot_hold_one_row_is_a_clear_error(tiny_model):
    small = engine(tiny_model, "glm4v", 2, stop=False, loop=None, cached_tokens=256)
    with pytest.raises(EngineError, match=r"raise inference\.cached_tokens"):
        list(small.generate(requests(1, [2000])))


@pytest.mark.slow
def test_rows_are_put_back_when_the_cache_is_full_and_generate_the_same(tiny_model):
    asked = requests(3, [490])
    decoding = {"temperature": 0.8, "top_p": 0.95}
    options = {"stop": False, "loop": None, **decoding}
    tight = engine(tiny_model, "glm4v", 4, cached_tokens=1100, **options)
    found = by_key(tight.generate(asked))
    assert tight.statistics["put_back"] > 0
    assert found == by_key(engine(tiny_model, "glm4v", 4, **options).generate(asked))


def test_an_engine_left_in_the_middle_can_be_asked_again(tiny_model):
    used = engine(tiny_model, "qwen2_5_vl", 3)
    responses = used.generate(requests())
    next(responses)
    responses.close()
    assert by_key(used.generate(requests())) == by_key(
        engine(tiny_model, "qwen2_5_vl", 3).generate(requests())
    )


def test_requests_are_taken_in_the_callers_thread_and_not_all_at_once(tiny_model):
    taken = []

    def source():
        for request in requests(20):
            assert threading.current_thread() is threading.main_thread()
            taken.append(request.key)
            yield request

    responses = engine(tiny_model, "qwen2_5_vl", batch_size=2).generate(source())
    next(responses)
    assert len(taken) < 10
    assert len(list(responses)) == 19


@pytest.mark.parametrize("name", families.NAMES)
def test_the_order_of_rows_does_not_depend_on_how_fast_images_are_read(
    tiny_model, monkeypatch, name
):
    expected = list(engine(tiny_model, name, 4).generate(uneven(10)))
    draw = random.Random(1)

    def slow(processor, messages, prefix):
        time.sleep(draw.random() / 50)
        return encode(processor, messages, prefix)

    monkeypatch.setattr(prefetch, "encode", slow)
    assert list(engine(tiny_model, name, 4).generate(uneven(10))) == expected


def test_nothing_asked_gives_nothing(tiny_model):
    assert list(engine(tiny_model, "qwen2_5_vl").generate([])) == []


INFERENCE = {
    "device": "cpu",
    "dtype": "auto",
    "attention": "auto",
    "batch_size": 2,
    "cached_tokens": 8192,
    "workers": 2,
}


def test_an_engine_is_loaded_from_the_config_and_says_what_it_is(tiny_checkpoint):
    model = {"key": "m", "family": "internvl", "decoding": {"temperature": 0.0}}
    loaded = asking.load(transformers_engine, tiny_checkpoint("internvl"), INFERENCE, model)
    assert len(list(loaded.generate(requests(3)))) == 3
    assert {key: loaded.record[key] for key in ("engine", "device", "dtype", "attention")} == {
        "engine": "transformers",
        "device": "cpu",
        "dtype": "float32",
        "attention": "sdpa",
    }
    assert loaded.record["versions"]["torch"] == torch.__version__
    held = {
        "attention": "sdpa in 4 segments",
        "tokens": 8192,
        "bytes_per_token": 2 * 2 * 2 * 16 * 4,
    }
    assert loaded.record["kv_cache"] == held
    assert loaded.record["sampler"] == {"kernels": "eager"}
    assert loaded.record["out_of_memory"] == []
    assert "computation" not in loaded.record
    loaded.close()


def test_flash_attention_that_is_not_there_is_said_before_anything_is_loaded():
    with pytest.raises(ValueError, match="flash_attention_2, but the device is not a CUDA device"):
        transformers_engine.check(INFERENCE | {"attention": "flash_attention_2"})
