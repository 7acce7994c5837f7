import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import MINIATURES

from imagenet_think.miniature.drawings import COLOURS, NAMES, sample_scene
from imagenet_think.miniature.reply_templates import (
    TOOL_CALL,
    VOICES,
    first_look,
    object_words,
    wants_larger_image,
)
from imagenet_think.parsing import parse

SCENES = st.builds(sample_scene, st.randoms(), st.sampled_from(sorted(NAMES)))


def words(text):
    return {word.strip(".,:;!?") for word in text.lower().split()}


@pytest.mark.parametrize("model", VOICES)
@given(scene=SCENES)
def test_answer_names_object_and_colour_and_no_other(model, scene):
    _, answer = VOICES[model].parts(scene)
    assert {wnid for word, wnid in object_words().items() if word in words(answer)} == {scene.wnid}
    assert words(answer) & set(COLOURS) == {scene.colour}
    assert scene.background in words(answer)


@pytest.mark.parametrize("model", VOICES)
@given(scene=SCENES)
def test_lengths_are_those_asked_for(model, scene):
    think, answer = VOICES[model].parts(scene)
    assert 40 <= len(think.split()) <= 90
    assert 15 <= len(answer.split()) <= 50


@pytest.mark.parametrize("model", VOICES)
@given(scene=SCENES)
def test_the_pipeline_parses_every_reply_back_into_its_parts(model, scene):
    think, answer = VOICES[model].parts(scene)
    parsed = parse(MINIATURES["models"][model]["output"], VOICES[model].reply(scene), "stop")
    assert parsed == (f"{think}\n{answer}", think, answer, "ok", "ok", "ok")


@given(scene=SCENES)
def test_only_glm_leaves_its_last_mark_out_for_three_objects(scene):
    reply = VOICES["glm-4.1v"].reply(scene)
    assert reply.startswith("<think>")
    assert "</think><answer>" in reply
    assert reply.endswith("</answer>") == (scene.count != 3)
    for model in ("openvlthinker", "visionthink"):
        assert VOICES[model].reply(scene).endswith("</answer>")


@given(scene=SCENES)
def test_first_look_calls_the_tool_and_names_nothing(scene):
    look = first_look(scene)
    assert look.startswith("<think>")
    assert look.endswith(TOOL_CALL)
    assert not set(object_words()) & words(look)
    assert wants_larger_image(scene) == (scene.size == "small")


@given(one=SCENES, other=SCENES)
def test_voices_differ_and_text_is_a_function_of_what_is_seen(one, other):
    assert len({voice.parts(one) for voice in VOICES.values()}) == len(VOICES)
    seen = [
        (s.wnid, s.colour, s.background, s.count, s.size, s.clutter, s.light) for s in (one, other)
    ]
    if seen[0] != seen[1]:
        assert all(voice.parts(one) != voice.parts(other) for voice in VOICES.values())


@pytest.mark.parametrize(
    ("model", "near", "far"),
    [
        ("r1-onevision", "glm-4.1v", "kimi-vl"),
        ("visionthink", "glm-4.1v", "kimi-vl"),
        ("internvl3.5", "kimi-vl", "glm-4.1v"),
        ("openvlthinker", "kimi-vl", "glm-4.1v"),
    ],
)
@given(scene=SCENES)
def test_each_student_is_nearer_to_one_teacher(model, near, far, scene):
    said, nearer, farther = (
        words(" ".join(VOICES[key].parts(scene))) for key in (model, near, far)
    )
    assert len(said & nearer) / len(said | nearer) > len(said & farther) / len(said | farther)
