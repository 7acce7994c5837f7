import base64
import io
import threading
import time
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import asking
import played_server
import pytest
from asking import IMAGE, LOOP, MODEL, all_expected, answered, answered_before_error, load, requests
from noise import noise
from PIL import ExifTags, Image, ImageOps
from waiting import wait_for

from imagenet_think.inference.chat import encode, first_conversation
from imagenet_think.inference.engines import EngineError, Request, openai_client, server_engine
from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop


@pytest.fixture
def url(play):
    """The address of a played server."""
    with played_server.served(play) as url:
        yield url


@pytest.fixture
def engine(tiny, url):
    with closing(loaded(tiny, url)) as engine:
        yield engine


def inference(url, **settings):
    defaults = {"url": url, "key_variable": None, "request_seconds": 300.0, "retries": 5}
    return asking.inference("server", defaults | settings)


def loaded(tiny, url, model=MODEL, loop=LOOP, **settings):
    return load(server_engine, tiny.folder, inference(url, **settings), model, loop)


def test_every_request_is_answered_as_the_server_says(tiny, engine):
    asked = requests(30)
    responses = list(engine.generate(iter(asked)))
    assert {r.key: (r.text, r.finish_reason, r.completion_tokens) for r in responses} == (
        all_expected(tiny, asked)
    )
    assert any(r.finish_reason == "stop" for r in responses)
    prompt = tokens_of(tiny, asked[0].messages)
    first = next(r for r in responses if r.key == "0")
    assert first.prompt_tokens == len(prompt)
    assert first.image_tokens == prompt.count(tiny.processor.image_token_id) > 0
    end = tiny.processor.tokenizer.decode(tiny.stop_ids[:1])
    assert all(r.text.endswith(end) == (r.finish_reason == "stop") for r in responses)


def test_requests_are_taken_in_the_callers_thread_and_only_as_there_is_room(engine):
    taken, ended, threads = [], [], set()

    def source():
        for request in requests(20):
            taken.append(request.key)
            threads.add(threading.current_thread())
            assert len(taken) - len(ended) <= 4
            yield request

    for response in engine.generate(source()):
        ended.append(response.key)
    assert threads == {threading.current_thread()}
    assert sorted(taken) == sorted(ended)


def test_several_threads_encode_each_with_its_own_tokenizer(tiny, engine, monkeypatch):
    both, used, asked = threading.Barrier(2, timeout=300), {}, requests(8)
    encoded, decoded = openai_client.encode, openai_client.decode

    def together(processor, *arguments):
        both.wait()
        used.setdefault(threading.get_ident(), set()).add(id(processor.tokenizer))
        return encoded(processor, *arguments)

    def alone(tokenizer, tokens):
        used.setdefault(threading.get_ident(), set()).add(id(tokenizer))
        return decoded(tokenizer, tokens)

    monkeypatch.setattr(openai_client, "encode", together)
    monkeypatch.setattr(openai_client, "decode", alone)
    assert answered(engine, asked) == all_expected(tiny, asked)
    (one,), (other,) = used.values()
    assert len({one, other, id(tiny.processor.tokenizer)}) == 3


@pytest.mark.parametrize("fault", ["500", "503", "429", "tear", "garbage", "late error", "cut"])
def test_a_passing_fault_changes_nothing(tiny, url, play, fault):
    asked = requests()
    play.set(faults={str(number): fault for number in (2, 5, 6, 11)})
    with closing(loaded(tiny, url)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)
    # The probe, and each request once more than it failed.
    assert len(play.notes("requests")) == 1 + len(asked) + 4


@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_a_silent_server_gets_the_request_again(tiny, url, play, fault):
    asked = requests(6)
    play.set(faults={"3": fault})
    start = time.monotonic()
    with closing(loaded(tiny, url, request_seconds=3.0)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)
    assert time.monotonic() - start >= 3
    assert len(play.notes("requests")) > 1 + len(asked)


def test_a_slow_server_is_not_a_silent_one(tiny, url, play, monkeypatch):
    """Whole responses take longer than a server may be silent; no token does."""
    asked = requests(4)
    take, passed = openai_client.StreamedResponse.take, 0.0

    def slow_take(row, chunk):
        nonlocal passed
        passed += 0.4 * 300  # until this token is there
        return take(row, chunk)

    monkeypatch.setattr(openai_client.StreamedResponse, "take", slow_take)
    monkeypatch.setattr(openai_client, "time", SimpleNamespace(monotonic=lambda: passed))
    with closing(loaded(tiny, url)) as engine:
        assert answered(engine, asked) == all_expected(tiny, asked)
    assert passed > 10 * 300
    assert len(play.notes("requests")) == 5  # none was sent twice


def test_a_refused_request_is_a_named_failure_and_the_rest_goes_on(tiny, engine, play):
    asked = requests(6)
    play.set(faults={"4": "400"})
    responses = list(engine.generate(iter(asked)))
    refused = [r for r in responses if r.finish_reason == "error"]
    assert [r.text for r in refused] == [None]
    assert "fault 400" in refused[0].error
    wanted = all_expected(tiny, asked)
    assert all(r.text == wanted[r.key][0] for r in responses if r not in refused)
    assert len(responses) == len(asked)


def test_a_request_that_cannot_be_encoded_is_not_sent(tiny, engine, play):
    broken = Request("broken", first_conversation(IMAGE[:60], "What?", MODEL), 1, 8)
    token = Request("token", first_conversation(IMAGE, tiny.processor.image_token, MODEL), 1, 8)
    errors = {r.key: r.error for r in engine.generate([broken, token])}
    assert "cannot be read" in errors["broken"]
    assert "image token" in errors["token"]
    assert len(play.notes("requests")) == 1  # the probe


def test_a_failing_server_ends_the_job_and_keeps_finished_responses(tiny, url, play):
    asked = requests(12)
    play.set(faults={"8": "die"})
    good = answered_before_error(loaded(tiny, url, retries=2), asked, "failed 3 times")
    assert good
    assert good.items() <= all_expected(tiny, asked).items()


def test_a_loop_ends_where_the_transformers_engine_ends_it(tiny, engine, play):
    asked = requests(3, word="LOOP", limit=400)
    play.set(delay=0.01)
    first, *_ = sorted(engine.generate(iter(asked)), key=lambda response: response.key)
    tokens, _ = played_server.answer(played_server.said(asked[0].messages), None, 400, None)
    end = next(n for n in range(CHECK_EVERY, 400, CHECK_EVERY) if ends_in_loop(tokens[:n], **LOOP))
    assert (first.finish_reason, first.completion_tokens) == ("loop", end)
    assert first.text == tiny.processor.tokenizer.decode(tokens[:end])
    wait_for(lambda: len(play.notes("aborted")) == 3)  # the server was told


NEVER = {**LOOP, "least_tokens": 10_000}


@pytest.mark.parametrize(
    ("loop", "reason"),
    [
        ({**LOOP, "least_tokens": CHECK_EVERY * 2 - 4}, "loop"),
        ({**NEVER, "near_repeats": {"window": 70, "phrase": 4, "later_phrase": 20}}, "loop"),
        (NEVER, "length"),
        (None, "length"),
    ],
    ids=["found at the last token", "as near-repeats", "never", "without a loop setting"],
)
def test_a_loop_at_the_length_limit(tiny, url, loop, reason):
    asked = requests(1, word="LOOP", limit=CHECK_EVERY * 2 + 10)
    with closing(loaded(tiny, url, loop=loop)) as engine:
        (response,) = engine.generate(asked)
    assert (response.finish_reason, response.completion_tokens) == (reason, CHECK_EVERY * 2 + 10)


def tokens_of(tiny, messages):
    return encode(tiny.processor, messages)["input_ids"][0].tolist()


NO_TOKENS = {"tokens": False, "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


@pytest.mark.parametrize(
    ("played", "message"),
    [
        (lambda prompt, image: {"prompt": [t for t in prompt if t != image]}, "0 image tokens"),
        (lambda prompt, image: {"prompt": [*prompt, image]}, "image tokens"),
        (lambda prompt, image: NO_TOKENS, "0 image tokens"),
        (lambda prompt, image: {"tokens": False, "reasoning": True}, "reasoning parser"),
        (lambda prompt, image: {"models": ["a", "b"]}, "must serve one"),
    ],
    ids=["image dropped", "other image settings", "prompt too short", "no thought", "two models"],
)
def test_an_unsuitable_server_stops_everything(tiny, url, play, played, message):
    prompt = tokens_of(tiny, requests(1)[0].messages)
    play.set(**played(prompt, tiny.processor.image_token_id))
    with pytest.raises(EngineError, match=message):
        loaded(tiny, url)


def test_a_prompt_that_is_rendered_differently_is_an_error(tiny, url, play):
    gray = openai_client.png_file(Image.new("RGB", (224, 224)))
    prompt = tokens_of(tiny, first_conversation(gray, "Describe the image.", MODEL))
    play.set(prompt=[*prompt[:-1], 11])
    with pytest.raises(EngineError, match=r"prompt for probe differs(.|\n)*chat template"):
        loaded(tiny, url)


def test_the_text_counts_if_a_server_returns_no_tokens(tiny, url, play):
    play.set(tokens=False, usage={"prompt_tokens": 400, "completion_tokens": 17})
    with closing(loaded(tiny, url)) as engine:
        (response,) = engine.generate(requests(1))
    tokens, _ = played_server.answer("Describe 0.", None, 64, tiny.stop_ids[0])
    assert response.text == "".join(chr(97 + token % 26) for token in tokens)
    assert (response.finish_reason, response.completion_tokens) == ("stop", 17)
    assert response.prompt_tokens == 400


def test_what_is_sent(tiny, url, play):
    decoding = {"max_new_tokens": 64, "temperature": 0.6, "top_p": 0.95}
    model = {**MODEL, "decoding": decoding, "system": "Be brief."}
    with closing(loaded(tiny, url, model=model)) as engine:
        list(engine.generate(requests(1, model=model)))
    sent = play.notes("requests")[-1]
    chosen = {key: sent[key] for key in ("temperature", "top_p", "top_k", "repetition_penalty")}
    assert chosen == {"temperature": 0.6, "top_p": 0.95, "top_k": -1, "repetition_penalty": 1.0}
    assert (sent["seed"], sent["max_tokens"], sent["model"]) == (100, 64, "played")
    assert sent["stop_token_ids"] == tiny.stop_ids
    assert sent["skip_special_tokens"] is False
    assert "mm_processor_kwargs" not in sent
    system, user = sent["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    kind, _, data = user["content"][0]["image_url"]["url"].partition(";base64,")
    assert base64.b64decode(data) == IMAGE
    assert kind == "data:image/png"


@pytest.mark.parametrize(
    "decoding",
    [{}, {"temperature": 0.0, "top_p": 0.5}, {"temperature": 1.0, "top_p": 1e-5, "top_k": 1}],
)
def test_a_greedy_model_is_sent_as_greedy_without_a_seed(tiny, url, play, decoding):
    penalty = {"max_new_tokens": 64, "repetition_penalty": 1.1}
    with closing(loaded(tiny, url, model=MODEL | {"decoding": penalty | decoding})) as engine:
        list(engine.generate(requests(1)))
    for sent in play.notes("requests"):
        assert "seed" not in sent
        chosen = [sent[key] for key in ("temperature", "top_p", "top_k", "repetition_penalty")]
        assert chosen == [0.0, 1.0, -1, 1.1]


@pytest.mark.parametrize("kind", ["turned", "gray", "transparent"])
def test_an_image_that_readers_decode_differently_is_sent_as_decoded_here(engine, play, kind):
    picture = noise(1, 80, 60)
    file = io.BytesIO()
    if kind == "turned":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        picture.save(file, "JPEG", exif=exif)
    else:
        picture.convert("L" if kind == "gray" else "RGBA").save(file, "PNG")
    data = file.getvalue()
    list(engine.generate([Request("0", first_conversation(data, "Describe.", MODEL), 1, 8)]))
    part = play.notes("requests")[-1]["messages"][0]["content"][0]
    sent = base64.b64decode(part["image_url"]["url"].partition(";base64,")[2])
    with Image.open(io.BytesIO(sent)) as seen, Image.open(io.BytesIO(data)) as ours:
        assert seen.mode == "RGB"
        assert ImageOps.exif_transpose(seen).tobytes() == ours.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("scaling", "fitted"), [("training", {"do_resize": False}), ("evaluation", None)]
)
def test_a_scaled_image_is_sent_as_the_model_sees_it(tiny, url, play, scaling, fitted):
    rounds = {"first_scale": 0.5, "scaling": scaling, "template": "{image}"}
    model = {**MODEL, "second_round": rounds}
    with closing(loaded(tiny, url, model=model)) as engine:
        (response,) = engine.generate(requests(1, model=model))
        (whole,) = engine.generate(requests(1))
    sent = play.notes("requests")[1]
    assert sent.get("mm_processor_kwargs") == fitted
    assert sent["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png")
    # A half of a small image is enlarged again, as by any processor, if its own pixels are scaled.
    assert (response.image_tokens < whole.image_tokens) == (scaling == "training")
    assert sent != play.notes("requests")[2]


def test_a_prefix_is_an_unfinished_turn(engine, play):
    list(engine.generate([replace(requests(1)[0], prefix="<think>")]))
    sent = play.notes("requests")[-1]
    assert sent["messages"][-1] == {"role": "assistant", "content": "<think>"}
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)


def test_a_closed_generator_drops_what_is_open_and_the_engine_goes_on(tiny, engine, play):
    play.set(delay=0.05)
    asked = requests(12)
    answers = engine.generate(iter(asked))
    next(answers)
    answers.close()
    play.set()
    assert answered(engine, asked) == all_expected(tiny, asked)


def test_a_context_must_have_room_for_prompt_and_response(tiny, url, play):
    gray = openai_client.png_file(Image.new("RGB", (224, 224)))
    probe = len(tokens_of(tiny, first_conversation(gray, "Describe the image.", MODEL)))
    play.set(context=probe + 63)
    with pytest.raises(EngineError, match=rf"has {probe + 63} tokens(.|\n)*limit of 64"):
        loaded(tiny, url)
    play.set(context=probe + 64)
    word = "Describe at great length and in detail "
    with closing(loaded(tiny, url)) as engine:
        (whole,) = engine.generate(requests(1))  # its image is smaller
        (refused,) = engine.generate(requests(1, word=word * 20))
    assert whole.finish_reason == "stop"
    assert refused.finish_reason == "error"
    assert f"the server's context {probe + 64}" in refused.error
    closed = {**MODEL, "close_thought": {"text": "</think>", "max_new_tokens": 8}}
    with pytest.raises(EngineError, match="limit of 72"):
        loaded(tiny, url, model=closed)


def test_the_key_comes_from_the_environment(tiny, url, play, monkeypatch):
    play.set(key="sesame")
    monkeypatch.setenv("TEST_SERVER_KEY", "sesame")
    with closing(loaded(tiny, url, key_variable="TEST_SERVER_KEY")) as engine:
        assert engine.record["engine"] == "server"
        assert engine.record["versions"]["vllm"] == "0.played"
    monkeypatch.setenv("TEST_SERVER_KEY", "wrong")
    with pytest.raises(EngineError, match="401: Unauthorized"):
        loaded(tiny, url, key_variable="TEST_SERVER_KEY")


@pytest.mark.usefixtures("play")
def test_no_server_is_an_error_after_the_retries(tiny):
    with pytest.raises(EngineError, match="no answer after 2 retries"):
        loaded(tiny, "http://127.0.0.1:9/v1", retries=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engines": {"server": {"url": "localhost:8000"}}}, "no address"),
        ({"engines": {"server": {"url": "http://x", "key_variable": "NOT_SET_AT_ALL"}}}, "not set"),
    ],
)
def test_settings_are_checked_early(change, message):
    with pytest.raises(ValueError, match=message):
        server_engine.check(inference("http://127.0.0.1:1/v1") | change)
