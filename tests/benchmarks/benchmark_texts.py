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
MARKS = {" ": 0.86, ", ": 0.06, ". ": 0.05, ".\n\n- **": 0.01, ":** ": 0.01}
MARKS |= {" — ": 0.005, "’s ": 0.005}


def vocabulary(rare: int) -> list[str]:
    """Return English's most frequent words, and so many made-up rare ones, shortest first."""
    generator = np.random.default_rng(1)
    frequent = generator.permutation(sorted(ENGLISH_STOP_WORDS)).tolist()
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    made_up = itertools.chain.from_iterable(
        map("".join, itertools.product(syllables, repeat=count)) for count in itertools.count(2)
    )
    return frequent + list(itertools.islice(made_up, rare))


def generate(images: int, words: int, *, rare: int = 0) -> Pairs:
    """Return the pairs of some images: candidates and references, 30 for each image.

    For each image two references and five responses, in three parts, so that a text appears in
    several pairs as it does in the benchmark. Words follow Zipf's law, with so many rare ones in
    its tail, which a tokenizer of subwords cuts into more pieces than it does real words. A full
    text of so many words is a think, its first 60%, and an answer, so that windowed metrics meet
    the same input twice, as they do with real responses.
    """
    generator = np.random.default_rng(2510)
    known = np.array(vocabulary(rare), dtype=object)
    shares = 1 / np.arange(1, len(known) + 1) ** EXPONENT
    shares /= shares.sum()
    marks = np.array(list(MARKS), dtype=object)
    cut = int(0.6 * words)

    shape = 2 + RESPONSES, words
    candidates, references = [], []
    for _ in range(images):
        drawn = generator.choice(known, shape, p=shares)
        pieces = drawn + generator.choice(marks, shape, p=list(MARKS.values()))
        texts = [
            ("\n".join(parts), *parts)
            for text in pieces.tolist()
            for parts in [("".join(text[:cut]), "".join(text[cut:]))]
        ]
        teachers, responses = texts[:2], texts[2:]
        for response in responses:
            for part in range(PARTS):
                candidates += [response[part]] * 2
                references += [teacher[part] for teacher in teachers]
    return candidates, references
