"""Which texts a metric can read."""

import numpy as np
import polars as pl
import pytest
from tiny_encoders import MINILM, save_roberta
from transformers import AutoTokenizer

from imagenet_think.metrics import registry
from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.domain import counter, vocabulary_counter, words_counter
from imagenet_think.metrics.domain_limits import NO_TOKEN, NO_WORD, UNKNOWN, reason
from imagenet_think.metrics.rouge import TOKEN, rouge

ASCII, WORDS = "[a-z0-9]+", r"(?u)\b\w\w+\b"
ENGLISH = "I see a **brown** dog, don't I? Its snake_case tag says 42; naïve."
CHINESE = "图中是一只棕色的狗，坐在绿色的草地上，旁边有一个红色的球。"
THAI = ["ภาพนี้แสดงสุนัขสีน้ำตาล", "แมวสีขาวนอนหลับอยู่ข้างหน้าต่าง"]
HINDI = "किताब मेज पर रखी हुई है और लड़का पढ़ रहा है"
RUSSIAN = "На картинке изображена коричневая собака, сидящая на траве."
FRENCH = "Un chien brun est assis dans l'herbe verte, près d'un ballon rouge."
EMOJI = "😀🎉❤️🐶"


def reasons(count, *texts):
    """Return why each text is outside the domain, None if it is inside."""
    counts = {name: pl.Series(values) for name, values in count(texts).items()}
    return pl.DataFrame(counts).select(reason()).to_series().to_list()


@pytest.mark.parametrize(
    ("text", "by_ascii", "by_words"),
    [
        (ENGLISH, None, None),
        (FRENCH, None, None),
        (CHINESE, NO_TOKEN, NO_WORD),
        (f"5 只狗 42 {CHINESE}", NO_WORD, NO_WORD),  # the digits are tokens
        (THAI[0], NO_TOKEN, NO_WORD),
        (HINDI, NO_TOKEN, NO_WORD),  # \w matches no vowel sign
        (RUSSIAN, NO_TOKEN, None),
        (EMOJI, NO_TOKEN, NO_TOKEN),
        ("…", NO_TOKEN, NO_TOKEN),
        (f"{ENGLISH} {EMOJI}", None, None),
        (f"{ENGLISH} It says 小心 above the door of the house.", None, None),
    ],
)
def test_words(text, by_ascii, by_words):
    assert reasons(words_counter(ASCII, None), text) == [by_ascii]
    assert reasons(words_counter(WORDS, None), text) == [by_words]


def test_characters_as_tokens_read_scripts_without_spaces():
    assert reasons(words_counter(r"\w", None), CHINESE, ENGLISH, HINDI) == [None, None, NO_WORD]


def test_counts_by_hand():
    count = words_counter(WORDS, ["the", "dog"])
    found = count(["The dog, a dog: été 狗", "the dog", ""])
    assert found["tokens"].tolist() == [1, 0, 0]  # été
    # "a" and the ideograph are too short for a token; stop words are read.
    assert found["letters"].tolist() == [3 + 3 + 1 + 3 + 3 + 1, 6, 0]
    assert found["in_words"].tolist() == [3 + 3 + 3 + 3, 6, 0]
    assert not found["unknown"].any()


@pytest.fixture(scope="module")
def minilm():
    return AutoTokenizer.from_pretrained(MINILM)


def test_a_vocabulary_with_an_unknown_token(minilm):
    count = vocabulary_counter(minilm)
    given = [ENGLISH, CHINESE, *THAI, EMOJI, "a 🐶 dog", " "]
    found = reasons(count, *given)
    assert found == [None, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, NO_TOKEN]
    assert found == [reason for text in given for reason in reasons(count, text)]
    assert count(["a 🐶 dog"])["unknown"].tolist() == [1]
    assert count([])["tokens"].tolist() == []


def test_a_vocabulary_of_bytes(tmp_path):
    count = vocabulary_counter(AutoTokenizer.from_pretrained(save_roberta(tmp_path)))
    assert reasons(count, "the archer holds the bow", CHINESE, *THAI) == [None, *[UNKNOWN] * 3]
    (tokens,) = count(["é"])["tokens"]
    assert tokens == count(["é"])["unknown"][0] == 2  # its two bytes


def test_the_marks_are_where_scores_mean_nothing(minilm):
    assert rouge([CHINESE], [CHINESE])["rouge1"] == 0
    bertscore = BertScore(MINILM, layer=6, max_tokens=64, batch_size=4)
    unrelated = bertscore([THAI[0], EMOJI], [THAI[1], THAI[0]])
    np.testing.assert_allclose(unrelated["f1"], 1, atol=1e-6)


def test_every_metric_declares_its_tokens():
    benchmark = {
        "sets": {"token_pattern": ASCII, "stop_words": None},
        "vectors": {"token_pattern": WORDS, "stop_words": "english"},
        "bertscore": {"repository": "here", "revision": None},
        "sbert": {"repository": "here", "revision": None},
    }
    loaded = []

    def load(*given):
        loaded.append(given)

    for metric in registry.metrics():
        section = benchmark.get(metric.name, {})
        assert set(section) == set(metric.tokenized)
        assert counter(metric, section, load)
    assert loaded == [("here", None)] * 2
    assert registry.get("rouge").words({}) == (TOKEN, None)
    unknown = registry.Metric("own", "Own", (), definition=lambda settings: "")
    assert counter(unknown, {}, load) is None
