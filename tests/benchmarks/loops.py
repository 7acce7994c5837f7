"""Benchmark of the detection of loops: what it finds, when, what it mistakes, and what it costs.

Run as `python tests/benchmarks/loops.py [FOLDER ...]`. The settings are those of `config.yaml`. It
prints after how many tokens each kind of loop is found, from where the loop begins; which of the
texts in these folders (or else of the installed packages' pages and modules) are mistaken for
loops; and the processor time per token of a row that is checked as the engines check it. Files are
read as UTF-8, packed ones (`.gz`) too; others are skipped. Texts are split into about as many
tokens as by a large model's tokenizer, or by that of `--tokenizer`, a `tokenizer.json`.
"""

import argparse
import gzip
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from looping_texts import INDISTINCT, LISTS, LOOPS, pieces, real_texts
from measuring import timed
from ruamel.yaml import YAML
from tokenizers import Tokenizer

from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop

CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"
LOOP = YAML(typ="safe").load(CONFIG)["length_policy"]["loop"]
LONGEST = 12_000


def first_loop(tokens: Sequence[int]) -> int | None:
    """Return after how many tokens an engine ends a row, or None if it does not."""
    row = []
    for token in tokens:
        row.append(token)
        if len(row) % CHECK_EVERY == 0 and ends_in_loop(row, **LOOP):
            return len(row)
    return None


def texts(folders: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield paths and contents of the texts in folders."""
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        try:
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            yield str(path), content.decode()
        except (UnicodeDecodeError, gzip.BadGzipFile):
            continue


def main(folders: list[Path], tokens_of: Callable[[str], list[int]]) -> None:
    """Print the three tables."""
    print("tokens until a loop is found, least and most of five:")
    for kind, generate in LOOPS.items():
        found = [first_loop(tokens_of(" ".join(generate(Random(seed))))) for seed in range(5)]
        print(f"  {kind:44}", *([min(found), max(found)] if all(found) else ["not found"]))
    for title, kinds in ("lists", LISTS), ("texts with the form of a loop", INDISTINCT):
        hit = [name for name in kinds if first_loop(tokens_of("\n".join(kinds[name](Random(1)))))]
        print(f"{title}: {len(hit)} of {len(kinds)} are taken for loops:", *hit, sep="\n  ")
    seconds, mistaken = [], []
    for name, text in texts(folders) if folders else real_texts():
        tokens = tokens_of(text[: 8 * LONGEST])[:LONGEST]
        if len(tokens) < LOOP["near_repeats"]["window"]:
            continue
        time, found = timed(first_loop, tokens)
        seconds.append(time / (found or len(tokens)))
        if found:
            mistaken.append(f"{name} at token {found}")
    print(f"real texts: {len(mistaken)} of {len(seconds)} are taken for loops:")
    print("", *mistaken, sep="\n  ")
    if seconds:
        micro = [1e6 * time for time in seconds]
        print(f"µs per token: {statistics.median(micro):.1f} (median), {max(micro):.1f} (most)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    chosen = Tokenizer.from_file(str(options.tokenizer)) if options.tokenizer else None
    main(
        options.folders,
        (lambda text: chosen.encode(text, add_special_tokens=False).ids) if chosen else pieces,
    )
