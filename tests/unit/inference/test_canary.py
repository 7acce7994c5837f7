import io
import json
import random
import re
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from miniatures import MINIATURES, load_miniature
from noise import noise_file
from PIL import Image

from imagenet_think.inference import canary
from imagenet_think.inference.canary import CanaryError
from imagenet_think.inference.canary_checks import garbled, judge
from imagenet_think.inference.canary_page import blank
from imagenet_think.inference.chat import PromptError, encode, png_file
from imagenet_think.inference.conversations import Policy
from imagenet_think.inference.engines import Response
from imagenet_think.inference.seeding import row_seed
from imagenet_think.miniature.drawings import draw, scene_of
from imagenet_think.parsing import FORMATS, parse

GREEDY = {"max_new_tokens": 40, "temperature": 0.0}
DRAWN = GREEDY | {"temperature": 0.8}
WORDS = [re.sub(r"\W", "", word) or "a" for word in Path(__file__).read_text().split()]
ENGLISH = "Got it, let's look at the image: a red fish swims to the left over a light background. "


def seed(image_id, attempt, turn):
    return row_seed(1, image_id, "tiny", attempt, turn)


def policy(decoding=GREEDY, **model):
    return Policy({"key": "tiny", "decoding": decoding, **model}, "Describe <it>.", 3, seed)


def pictures(count):
    return {f"n0_{i}": noise_file(i, 70, 60 + 10 * i) for i in range(count)}


def speech(*key):
    """Twenty words that depend on a key, thought and answered."""
    words = random.Random("/".join(map(str, key))).choices(WORDS, k=20)
    return f"<think>{' '.join(words[:15])}</think><answer>{' '.join(words[15:])}</answer>"


class Speaker:
    """A fake engine: a function gives each text, from the image (bytes) and the request."""

    def __init__(self, processor, say, reason="stop", **counts):
        self.processor, self.say, self.reason, self.counts = processor, say, reason, counts
        self.requests = []
        self.record = {"engine": "speaker", "device": "cpu", "versions": {"speaker": "1.0"}}

    def generate(self, requests):
        for request in list(requests)[::-1]:
            self.requests.append(request)
            image = next(part for part in request.messages[-1]["content"] if "image" in part)
            try:
                ids = encode(self.processor, request.messages, request.prefix)["input_ids"]
            except PromptError as error:
                yield Response(request.key, None, "error", error=str(error))
                continue
            count = int((ids == self.processor.image_token_id).sum())
            counts = {"prompt_tokens": 9, "image_tokens": count, "completion_tokens": 5}
            text = self.say(image["image"], request)
            yield Response(request.key, text, self.reason, **counts | self.counts)


def sees(image, request):
    return speech(image)


def ignores(image, request):
    return speech("same")


def follows_seed(image, request):
    return speech(request.seed)


def mixes_up(image, request):
    """See the partner of each of the first two images where they are swapped."""
    first, second, *_ = pictures(4).values()
    partner = {first: second, second: first} if request.key.startswith("swapped") else {}
    return speech(partner.get(image, image))


@pytest.fixture
def checked(tiny_model, tmp_path):
    """A function that runs the canary on a speaker; it returns the speaker and its usage."""
    processor = tiny_model("qwen2_5_vl")[1]

    def check(
        say,
        images=4,
        decoding=GREEDY,
        digest="0123456789abcdef",
        model=None,
        strict=False,
        output_format="think_answer",
        **options,
    ):
        shown = images if isinstance(images, dict) else pictures(images)
        speaker = Speaker(processor, say, **options)
        spent = canary.require_sight(
            speaker,
            shown,
            policy(decoding, **model or {}),
            processor=processor,
            output_format=output_format,
            digest=digest,
            folder=tmp_path,
            strict=strict,
        )
        return speaker, spent

    return check


@pytest.fixture
def findings(checked, tmp_path):
    """A function that runs the canary on a bad speaker; it returns the kinds of its defects."""

    def find(say, **options):
        with pytest.raises(CanaryError, match=re.escape(str(tmp_path / "tiny-01234567.html"))):
            checked(say, **options)
        verdict = tmp_path / "tiny-01234567.json"
        found = json.loads(verdict.read_text())["findings"]
        verdict.unlink()  # otherwise it would hold for the next speaker
        return {finding["kind"] for finding in found}

    return find


# Prompts


def test_each_image_is_shown_in_three_ways(checked):
    shown = pictures(4)
    speaker, spent = checked(sees, images=shown)
    asked = {}
    for request in speaker.requests:
        (image,) = (part["image"] for part in request.messages[0]["content"] if "image" in part)
        asked[request.key] = image, request.seed
    names = list(shown)
    for name, partner in zip(names, [names[1], names[0], names[3], names[2]], strict=True):
        assert asked[f"own/{name}"] == (shown[name], seed(name, 1, 1))
        assert asked[f"blank/{name}"] == (blank(shown[name]), seed(name, 1, 1))
        assert asked[f"swapped/{partner}"] == (shown[name], seed(partner, 1, 1))
    assert len(asked) == len(speaker.requests) == 12
    assert spent["completion_tokens"] == 12 * 5
    assert spent["image_tokens"] > 0


def test_a_blank_is_gray_and_of_the_same_size():
    with Image.open(io.BytesIO(blank(noise_file(1, 31, 17)))) as image:
        assert image.size == (31, 17)
        assert image.getcolors() == [(31 * 17, (128, 128, 128))]


def test_texts_are_limited_and_generated_once(checked):
    closing = {"close_thought": {"text": "</think>", "max_new_tokens": 9}, "output": "think_answer"}
    long = DRAWN | {"max_new_tokens": 100_000}
    say = lambda image, request: f"<think>{speech(image, request.seed)[7:60]}"  # noqa: E731
    speaker, _ = checked(say, decoding=long, model=closing, reason="length")
    assert {request.max_new_tokens for request in speaker.requests} == {canary.MAX_NEW_TOKENS}
    assert len(speaker.requests) == 12
    speaker, _ = checked(sees, digest="1" * 16)
    assert {request.max_new_tokens for request in speaker.requests} == {40}


@pytest.mark.parametrize(("images", "requests"), [(1, 2), (2, 6), (3, 8)])
def test_fewer_images_are_enough(checked, images, requests):
    speaker, _ = checked(sees, images=images)
    assert len(speaker.requests) == requests


# Defects


# By name of a defect: how the model generates, in what other way it is run, and what is found.
DEFECTS = {
    "it ignores everything": (ignores, {}, {"blind", "alike", "swapped"}),
    "it depends only on the seed": (follows_seed, {}, {"blind", "swapped"}),
    "it depends only on the seed, sampling": (follows_seed, {"decoding": DRAWN}, {"blind"}),
    "images reach the wrong row": (mixes_up, {}, {"swapped"}),
    "it has no image tokens": (sees, {"image_tokens": 0}, {"image_tokens"}),
    "it has other image tokens": (sees, {"image_tokens": 5}, {"image_tokens"}),
    "it writes garbage": (lambda image, _: f"\ufffd\ufffd{speech(image)[7:18]}", {}, {"garbled"}),
    # Special tokens repeat in a short text, and a text of marks only is empty.
    "it writes marks": (lambda image, _: "<think></think><|im_end|>" * len(image), {}, {"garbled"}),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(findings, name):
    say, options, kinds = DEFECTS[name]
    assert findings(say, **options) == kinds


def test_rounding_noise_does_not_stop_a_model(checked, findings):
    # As in bfloat16: one word in ten is different for every row.
    def noisy(text, key):
        draw = random.Random(key)
        return re.sub(r"\w+ ", lambda m: "else " if draw.random() < 0.1 else m[0], text)

    checked(lambda image, request: noisy(speech(image), request.key), digest="3" * 16)
    # A blind model with the same noise never repeats a text, but its texts ignore the images.
    assert "swapped" in findings(lambda image, request: noisy(speech("same"), request.key))


def test_a_blind_model_with_rounding_noise_is_found(checked, findings):
    def drifting(length):
        return lambda _, request: f"<think>{' '.join(WORDS[:length])} {speech(request.key)[7:]}"

    assert findings(drifting(60), decoding=DRAWN) == {"blind"}
    checked(drifting(10), decoding=DRAWN, digest="5" * 16)


def captions(image, request):
    """Well-written captions of what the image shows, without the model's marks."""
    return speech(image)[7:60].replace("</think><answer>", " ")


@pytest.mark.parametrize("broken", range(5))
def test_broken_formats_are_a_warning_with_their_share(checked, tmp_path, caplog, broken):
    shown = pictures(4)
    without = list(shown.values())[:broken]

    def say(image, request):
        return (captions if image in without else sees)(image, request)

    share = f"{broken} of 4 finished texts ({broken / 4:.0%}) break the model's format: n0_0, "
    for prompts in (12, 0):  # the verdict is kept, and so is the warning
        caplog.clear()
        speaker, _ = checked(say, images=shown)
        assert len(speaker.requests) == prompts
        assert (share in caplog.text) == (broken > 0)
    page = unescape((tmp_path / "tiny-01234567.html").read_text())
    assert "Stopped." not in page
    assert (share in page) == ("Warning." in page) == (broken > 0)
    # With the key of the config, a model that mostly breaks its format is stopped.
    if broken < 3:
        checked(say, images=shown, strict=True)
    else:
        with pytest.raises(CanaryError, match=rf"before: {re.escape(share)}.*broken_formats is"):
            checked(say, images=shown, strict=True)
        with pytest.raises(CanaryError, match=rf"this run: {re.escape(share)}"):
            checked(say, images=shown, strict=True, digest="5" * 16)
        checked(say, images=shown, digest="5" * 16)


@pytest.mark.parametrize("output_format", FORMATS)
def test_well_written_captions_are_used_whatever_the_format(checked, caplog, output_format):
    shown = pictures(4)
    checked(captions, images=shown, output_format=output_format)
    text = captions(next(iter(shown.values())), None)
    broken = parse(output_format, text, "stop").status != "ok"
    assert broken == ("4 of 4 finished texts (100%) break" in caplog.text)
    assert broken or output_format not in ("think", "think_answer", "kimi", "tool_call")


def test_a_verdict_of_version_0_1_no_longer_stops_a_broken_format(checked, tmp_path, caplog):
    checked(captions)
    verdict = tmp_path / "tiny-01234567.json"
    record = json.loads(verdict.read_text())
    marks = {"kind": "marks", "text": "the marks of 4 of 4 finished texts do not parse"}
    verdict.write_text(json.dumps(record | {"findings": [marks]}))
    assert not checked(captions)[0].requests
    assert "4 of 4 finished texts (100%) break the model's format" in caplog.text
    blind = {"kind": "blind", "text": "its text is the same"}
    verdict.write_text(json.dumps(record | {"findings": [marks, blind]}))
    with pytest.raises(CanaryError, match=r"failed the canary before: its text is the same\. See"):
        checked(captions)


def test_a_model_that_is_blind_is_stopped_with_broken_formats_too(findings):
    assert findings(lambda *_: "A short caption.") >= {"blind", "alike"}


def test_a_single_bad_text_does_not_stop_a_model(checked):
    first = next(iter(pictures(1).values()))
    checked(lambda image, request: "!" * 300 if image == first else speech(image))


def test_truncated_thinking_is_not_garbled(checked, tmp_path, caplog):
    checked(lambda image, request: speech(image)[:60], reason="length")
    page = (tmp_path / "tiny-01234567.html").read_text()
    assert "<b>0</b><span>finished texts</span>" in page
    assert "its format could not be checked" in caplog.text


def test_a_rejected_image_is_left_out(checked, findings):
    narrow = {"narrow": png_file(Image.new("RGB", (2000, 5)))}
    checked(sees, images=narrow | pictures(3), digest="4" * 16)
    assert findings(sees, images=narrow) == {"refused"}


def test_equal_texts_are_found(checked, tmp_path):
    first, second, *_ = pictures(4).values()
    with pytest.raises(CanaryError, match="for n0_0 is the same as for n0_1"):
        checked(lambda image, request: speech(first if image == second else image))


# The verdict


def test_a_model_that_passed_is_not_prompted_again(checked):
    first, spent = checked(sees)
    again, nothing = checked(lambda image, request: pytest.fail("asked"))
    assert (len(first.requests), len(again.requests)) == (12, 0)
    assert spent["completion_tokens"] > 0
    assert nothing is None
    # The file's name holds only a part of the digest.
    assert len(checked(sees, digest="01234567ffffffff")[0].requests) == 12


def test_a_failed_canary_runs_again_only_without_its_verdict(checked, tmp_path):
    with pytest.raises(CanaryError):
        checked(ignores)
    page = (tmp_path / "tiny-01234567.html").read_text()
    assert "Stopped." in page
    assert "its text for n0_0 is the same as for a blank image" in page
    with pytest.raises(CanaryError, match=r"failed the canary before.*; delete .*\.json") as error:
        checked(sees)
    assert "tiny-01234567.html" in str(error.value)
    (tmp_path / "tiny-01234567.json").unlink()
    assert len(checked(sees)[0].requests) == 12


DAMAGE = {
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "half": lambda content: content[: len(content) // 2],
    "no text": lambda content: content.replace(b"<think>", b"\xff"),
    "deep": lambda content: b"[" * 100_000,
    "a list": lambda content: b"[]",
    "a text": lambda content: b'"digest"',
    "no digest": lambda content: content.replace(b'"digest"', b'"dige5t"'),
    "no findings": lambda content: content.replace(b'"findings"', b'"find"'),
    "a finding": lambda content: content.replace(b'"findings": []', b'"findings": ["blind"]'),
    "no status": lambda content: content.replace(b'"status"', b'"state"', 1),
    "a status": lambda content: content.replace(b'"status": "ok"', b'"status": [0]', 1),
    "a count": lambda content: content.replace(b'"image_tokens": ', b'"image_tokens": 0.', 1),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_verdict_is_made_again(checked, tmp_path, kind, caplog):
    checked(sees)
    verdict = tmp_path / "tiny-01234567.json"
    good = verdict.read_bytes()
    verdict.write_bytes(DAMAGE[kind](good))
    assert verdict.read_bytes() != good
    assert len(checked(sees)[0].requests) == 12
    assert f"{verdict} is damaged (" in caplog.text
    assert verdict.read_bytes() == good


def test_the_page_shows_every_text_and_loads_nothing(checked, tmp_path):
    texts = set()

    def say(image, request):
        text = speech(image) + "<script>alert('&')</script>"
        texts.add(text)
        return text

    shown = {f'<img src="x">{name}': image for name, image in pictures(4).items()}
    checked(say, images=shown)
    page = (tmp_path / "tiny-01234567.html").read_text()
    assert "<script" not in page
    assert '<img src="x"' not in page
    assert "default-src 'none'" in page
    assert set(re.findall(r'src="([^"]{0,11})', page)) == {"data:image/"}
    assert page.count("data:image/jpeg;base64,") == 12
    said = re.findall(r'<div class="said">(.*?)</div>', page, re.DOTALL)
    assert {unescape(text) for text in said} == texts
    assert "Passes." in page
    assert "Stopped." not in page


def test_the_same_answers_give_the_same_bytes(checked, tmp_path):
    written = []
    for _ in range(2):
        checked(sees)
        written.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
        (tmp_path / "tiny-01234567.json").unlink()
    assert written[0] == written[1]


# Garbage


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" \n", "it is empty"),
        ("the " * 100, "it repeats itself"),
        ("a red fish, a blue fish, " * 20, "it repeats itself"),
        ("\ufffd" * 3 + "fish", "43% of its characters cannot be printed"),
        ("\x01\x02 a b", "33% of its characters cannot be printed"),
        ("fish рыба 물고기 ปลา ψάρι דג " * 5, "it mixes 6 scripts, latin and others"),
        (ENGLISH, None),
        ("ok", None),
        ("赤い魚が左に泳いでいる。背景は明るい。カメラは水面の下にある。" * 2, None),
        ("红色的鱼向左游动，背景明亮，水面上有光。鱼的身体细长，尾巴分叉。", None),
        ("".join(f"| row {i} | {i * i} | a {ENGLISH.split()[i]} |\n" for i in range(12)), None),
        ("The angle is \\(\\alpha = 30^\\circ\\), so α < β, and the area is πr².", None),
        ("!!! Look !!!", None),
    ],
)
def test_a_garbled_text_is_named(text, why):
    assert garbled(text) == why


@given(st.text(st.characters()))
def test_any_text_can_be_judged(text):
    assert garbled(text) is None or garbled(text)


# Real models


@contextmanager
def blinded(model):
    """Have the vision tower of a model give zeros."""
    tower = next(m for n, m in model.named_modules() if n in ("model.visual", "model.vision_tower"))

    def zero(module, arguments, output):
        for tensor in output.values():
            if isinstance(tensor, torch.Tensor):
                tensor.zero_()

    hook = tower.register_forward_hook(zero)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("key", MINIATURES["models"])
def test_each_miniature_passes_unless_blinded(key):
    engine, asked = load_miniature(key)
    scenes = [scene_of(3, wnid, 0) for wnid in ("n02782093", "n03544360", "n02512053", "n07607605")]
    images = {scene.wnid: png_file(draw(scene)) for scene in scenes}

    def defects():
        output = asked.model["output"]
        replies, _ = canary.ask(engine.generate, images, asked, engine.processor, output)
        return {defect.kind for defect in judge(replies, greedy=True)}

    assert defects() == set()
    with blinded(engine.model):
        assert "blind" in defects()
