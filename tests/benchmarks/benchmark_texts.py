"""Texts for the benchmarks of the metrics, drawn as the benchmark's texts are."""

import itertools

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

RESPONSES = 5
PARTS = 3

# Exponent of Zipf's law.
EXPONENT = 1.1

Pairs = tuple[list[str], list[str]]

# Marks between words, and how often: commas, ends of sentences, Markdown, and the dash and the
# apostrophe by which most real responses are not ASCII.
MARKS = {
    " ": 0.86,
    ", ": 0.06,
    ". ": 0.05,
    ".\n\n- **": 0.01,
    ":** ": 0.01,
    " — ": 0.005,
    "’s ": 0.005,
}


def vocabulary(rare: int) -> list[str]:
    """Return English's most frequent words, and so many made-up rare ones, shortest first."""
    generator = np.random.default_rng(1)
    frequent = generator.permutation(sorted(ENGLISH_STOP_WORDS)).tolist()
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    made_up = itertools.chain.from_iterable(
        map("".join, itertools.product(syllables, repeat=count)) for count in itertools.count(2)
    )
    return frequent + list(itertools.islice(made_up, rare))


def draw(
    generator: np.random.Generator, values: np.ndarray, ends: np.ndarray, count: int
) -> np.ndarray:
    """Return so many of the values; `ends` are the sums of their shares up to each."""
    return values[np.searchsorted(ends, generator.random(count) * ends[-1], side="right")]


def generate(images: int, words: int, *, rare: int = 0, seed: int = 2510) -> Pairs:
    """Return the pairs of some images: candidates and references.

    For each image two references and five responses, in three parts, so that a text appears in
    several pairs as it does in the benchmark. Words follow Zipf's law. A think is 60% of a full
    text's words and its beginning, so that windowed metrics meet the same input twice, as they do
    with real responses.

    Parameters
    ----------
    images
        How many; each has 30 pairs.
    words
        Words of a full text.
    rare
        Made-up words in the tail of the vocabulary, beside the English ones. A tokenizer of
        subwords cuts these into more pieces than it does real words.
    seed
        Seed of the draws.
    """
    generator = np.random.default_rng(seed)
    known = np.array(vocabulary(rare), dtype=object)
    ends = np.cumsum(1 / np.arange(1, len(known) + 1) ** EXPONENT)
    marks = np.array(list(MARKS), dtype=object)
    mark_ends = np.cumsum(list(MARKS.values()))
    cut = int(0.6 * words)

    def text() -> tuple[str, str, str]:
        pieces = draw(generator, known, ends, words) + draw(generator, marks, mark_ends, words)
        pieces = pieces.tolist()
        return "".join(pieces), "".join(pieces[:cut]), "".join(pieces[cut:])

    candidates, references = [], []
    for _ in range(images):
        teachers = [text() for _ in range(2)]
        for response in [text() for _ in range(RESPONSES)]:
            for part in range(PARTS):
                candidates += [response[part]] * 2
                references += [teacher[part] for teacher in teachers]
    return candidates, references
