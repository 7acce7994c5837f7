"""Benchmark of the word metrics: beside the reference libraries, and at the paper's scale.

Run as `python tests/benchmarks/lexical.py`; it takes about three minutes. The first table has the
same pairs by the libraries and by ours: for each image two references and five responses, in three
parts, so that a text appears in several pairs as it does in the benchmark. The greatest difference
between the scores is printed beside the times.

The second table has the scoring jobs' own functions, from annotations to scores, on a shard and on
one of twice its size, and what follows for the 7.5 million pairs of the paper's 250,000 images. A
job also compares the teachers' texts with each other, about one pair in eight; its time is per
pair of either kind. Document frequencies are counted once, before any job.

Words follow Zipf's law, with a tail of rare ones. Times are processor time of one thread.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# One thread on both sides, and no bars between the lines.
os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TQDM_DISABLE": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "metrics"))

import numpy as np
from benchmark_texts import PARTS, RESPONSES, Pairs, generate
from rouge_score.rouge_scorer import RougeScorer
from scoring import score, shard_of
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from fit_document_frequencies import fit_document_frequencies
from imagenet_think.metrics.pairs import Shard
from imagenet_think.metrics.rouge import rouge
from imagenet_think.metrics.tfidf import DocumentFrequencies, vectors
from imagenet_think.metrics.token_overlap import sets

SET_TOKENS = {"token_pattern": "[a-z0-9]+", "stop_words": None}
VECTOR_TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
RARE = 100_000
PAPER_IMAGES = 250_000
PAIRS_AN_IMAGE = RESPONSES * 2 * PARTS
CORES = 2
FREQUENCIES = "document frequencies"

Columns = dict[str, np.ndarray]
Score = Callable[[Sequence[str], Sequence[str]], Columns]


def reference_rouge(candidates: Sequence[str], references: Sequence[str]) -> Columns:
    """rouge-score, a call a pair."""
    scorer = RougeScorer(["rouge1", "rougeL"])
    scores = [scorer.score(r, c) for c, r in zip(candidates, references, strict=True)]
    return {name: np.array([s[name].fmeasure for s in scores]) for name in ("rouge1", "rougeL")}


def reference_sets(candidates: Sequence[str], references: Sequence[str]) -> Columns:
    """Python sets of scikit-learn's tokens, both texts tokenized for each pair."""
    analyze = CountVectorizer(**SET_TOKENS).build_analyzer()
    tokens = zip(map(analyze, candidates), map(analyze, references), strict=True)
    pairs = [(set(a), set(b)) for a, b in tokens]
    return {
        "jaccard": np.array([len(a & b) / len(a | b) for a, b in pairs]),
        "overlap": np.array([len(a & b) / min(len(a), len(b)) for a, b in pairs]),
    }


def reference_vectors(candidates: Sequence[str], references: Sequence[str]) -> Columns:
    """scikit-learn, a vectorizer fitted for each pair; `tfidf` on all references."""
    corpus = TfidfVectorizer(**VECTOR_TOKENS).fit(list(dict.fromkeys(references)))
    columns = {"tfidf": [], "tfidf_pair": [], "cosine": []}
    for pair in zip(candidates, references, strict=True):
        a, b = corpus.transform(pair)
        columns["tfidf"].append(a.multiply(b).sum())
        a, b = TfidfVectorizer(**VECTOR_TOKENS).fit_transform(pair)
        columns["tfidf_pair"].append(a.multiply(b).sum())
        a, b = CountVectorizer(**VECTOR_TOKENS).fit_transform(pair).astype(float)
        norms = np.sqrt(a.multiply(a).sum() * b.multiply(b).sum())
        columns["cosine"].append(a.multiply(b).sum() / norms)
    return {name: np.array(values) for name, values in columns.items()}


def ours_vectors(candidates: Sequence[str], references: Sequence[str]) -> Columns:
    """Our vectors, the fit on the references included."""
    frequencies = DocumentFrequencies()
    frequencies.add(list(dict.fromkeys(references)), **VECTOR_TOKENS)
    return vectors(candidates, references, frequencies, **VECTOR_TOKENS)


def ours_sets(candidates: Sequence[str], references: Sequence[str]) -> Columns:
    """Our sets, with the tokens of the reference."""
    return sets(candidates, references, **SET_TOKENS)


def timed(score: Score, pairs: Pairs) -> tuple[float, Columns]:
    """Return the seconds of processor time a metric takes, and its columns."""
    start = time.process_time()
    columns = score(*pairs)
    return time.process_time() - start, columns


def compare(images: int, words: int) -> None:
    """Print the table of ours beside the libraries."""
    pairs = generate(images, words, rare=RARE)
    rows = [
        ("ROUGE-1, ROUGE-L", "rouge-score", reference_rouge, rouge),
        ("Jaccard, overlap", "sets a pair", reference_sets, ours_sets),
        ("TF-IDF, cosine", "scikit-learn", reference_vectors, ours_vectors),
    ]
    print(
        "| metric | library | pairs | library, ms a pair | ours, ms a pair | ratio | difference |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for metric, library, reference, ours in rows:
        for function in (reference, ours):
            function(["a bow"], ["the bow"])  # what is loaded once
        slow, expected = timed(reference, pairs)
        fast, found = timed(ours, pairs)
        difference = max(np.abs(found[name] - expected[name]).max() for name in expected)
        count = len(pairs[0])
        print(
            f"| {metric} | {library} | {count} | {slow / count * 1000:.2f} | "
            f"{fast / count * 1000:.3f} | {slow / fast:.0f} | {difference:.1e} |",
            flush=True,
        )


def seconds_of_jobs(shard: Shard, corpus: Path) -> dict[str, float]:
    """Run the scoring jobs of a shard and return the seconds of processor time of each."""
    jobs = {
        FREQUENCIES: lambda: fit_document_frequencies(
            shard.annotations[:2], corpus, **VECTOR_TOKENS
        ),
        "ROUGE": lambda: score("rouge", shard, stemmer=False),
        "sets": lambda: score("sets", shard, **SET_TOKENS),
        "vectors": lambda: score(
            "vectors", shard, {"document_frequencies": corpus}, **VECTOR_TOKENS
        ),
    }
    seconds = {}
    for name, job in jobs.items():
        start = time.process_time()
        job()
        seconds[name] = time.process_time() - start
    return seconds


def extrapolate(images: int, words: int) -> None:
    """Print the table of the jobs."""
    sizes = {"first": min(images, 8), "half": images // 2, "whole": images}  # the first loads all
    milliseconds, pairs = {}, {}
    for name, size in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            shard = shard_of(folder, size, words)
            seconds = seconds_of_jobs(shard, Path(folder) / "document_frequencies.parquet")
            scored = len(shard.pairs().rows)
        pairs[name] = dict.fromkeys(seconds, scored) | {FREQUENCIES: size * PAIRS_AN_IMAGE}
        milliseconds[name] = {job: 1000 * seconds[job] / pairs[name][job] for job in seconds}
    paper = PAPER_IMAGES * PAIRS_AN_IMAGE
    print(
        "| job | pairs, half | pairs, whole | ms a pair, half | ms a pair, whole | "
        f"{paper:,} pairs on {CORES} cores, minutes |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")

    def line(job: str, counts: str, half: float, whole: float) -> None:
        minutes = whole / 1000 * paper / CORES / 60
        print(f"| {job} | {counts} | {half:.3f} | {whole:.3f} | {minutes:.1f} |")

    for job in milliseconds["whole"]:
        counts = " | ".join(f"{pairs[size][job]:,}" for size in ("half", "whole"))
        line(job, counts, milliseconds["half"][job], milliseconds["whole"][job])
    line("all", "|", *(sum(milliseconds[size].values()) for size in ("half", "whole")))


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20, help="images beside the libraries")
    parser.add_argument("--scored", type=int, default=1_700, help="images of the larger shard")
    parser.add_argument("--words", type=int, default=670, help="words of a full text")
    arguments = parser.parse_args()
    compare(arguments.images, arguments.words)
    print()
    extrapolate(arguments.scored, arguments.words)


if __name__ == "__main__":
    main()
