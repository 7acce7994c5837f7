"""What damage to image files is noticed, by kind.

Run as `python tests/benchmarks/image_damage.py`. Files are damaged at random, and those are counted
that are accepted with other pixels. A JPEG has no checksum: a wrong bit, or the loss of a few
bytes, mostly leaves a valid file.
"""

import argparse
import os
import sys
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from damage import (
    JPEGS,
    LOST,
    Damage,
    damaged,
    flipped,
    jpeg_file,
    outcome,
    pixels,
    png_file,
    removed,
)
from pictures import encoded, photo

FORMS = ("GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
KINDS: dict[str, Damage] = {
    "one bit flipped": flipped,
    "one byte lost": partial(removed, count=1),
    "17 bytes lost": partial(removed, count=17),
    **{f"block {name}" if name != "truncated" else name: one for name, one in LOST.items()},
}


def files() -> dict[str, bytes]:
    """Return an image file of each form."""
    found = {f"JPEG, {name}": jpeg_file(**options) for name, options in JPEGS.items()}
    found |= {f"PNG, {mode}": png_file(mode) for mode in ("RGB", "P")}
    return found | {name: encoded(photo(3), name) for name in FORMS}


def main() -> None:
    """Print the share of damaged files that are accepted with other pixels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="of damaged files of each kind")
    count = parser.parse_args().count
    warnings.simplefilter("ignore")
    print(f"Accepted though its pixels differ, of {count} files each:\n")
    print(f"| file | {' | '.join(KINDS)} |")
    print(f"| --- |{' ---: |' * len(KINDS)}")
    for name, data in files().items():
        good = pixels(data)
        cells = []
        for kind in KINDS.values():
            outcomes = Counter(outcome(bad, good) for bad in damaged(data, count, kind))
            cells.append(f"{outcomes['different'] / count:.1%}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
