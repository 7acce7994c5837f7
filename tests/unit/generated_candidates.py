"""Classes and candidates without archives: rows as the image stages write them, at any size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from imagenet_think.core.hash_order import order_key
from imagenet_think.core.schemas import CANDIDATES, CLASSES

LARGEST = 3_047
"""Images of the largest class of ImageNet-21k (J. Deng et al., CVPR 2009: fall 2011)."""


def class_sizes(count: int, total: int, least: int, seed: int) -> list[int]:
    """Return sizes of classes that add up to `total`, each from `least` to `LARGEST`.

    What is above `least` follows a gamma distribution (shape 2): many classes of middling size and
    a tail of large ones.
    """
    room = LARGEST - least
    extra = np.random.default_rng(seed).gamma(2.0, 1.0, count)
    while True:
        extra = np.minimum(extra * ((total - count * least) / extra.sum()), room)
        if abs(extra.sum() - (total - count * least)) < 0.5:
            break
    sizes = least + extra.astype(int)
    sizes[np.argsort(extra, kind="stable")[: total - sizes.sum()]] += 1
    return sizes.tolist()


def write_classes(sizes: Mapping[str, int], path: Path) -> Path:
    """Write the index of classes that have so many images each."""
    rows = [(wnid, k, "a, b", "food", "n1", size) for k, (wnid, size) in enumerate(sizes.items())]
    pl.DataFrame(rows, schema=CLASSES, orient="row").write_parquet(path)
    return path


def write_candidates(
    sizes: Mapping[str, int], per_class: int, seed: int, path: Path, repeated: Sequence[int] = ()
) -> Path:
    """Write candidates that depend on their class and the seed alone, without images.

    Each class has `per_class` accepted candidates, or as many as it has images. Every seventh
    candidate's hash, and no other's, is drawn from `repeated`, so that these repeat each other
    within and across classes.
    """
    frames = []
    for wnid, size in sizes.items():
        count = min(per_class, size)
        rng = np.random.default_rng([seed, int(wnid[1:])])
        hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
        if repeated:
            hashes[::7] = rng.choice(np.array(repeated, np.uint64), len(hashes[::7]))
        names = [f"{wnid}_{number}" for number in range(count)]
        names.sort(key=lambda name, wnid=wnid: order_key(seed, wnid, name))
        columns = {
            "image_id": names,
            "wnid": wnid,
            "source": f"{wnid}.tar",
            "member": [f"{name}.JPEG" for name in names],
            "rank": np.arange(count),
            "width": 500,
            "height": 375,
            "source_bytes": 110_000,
            "source_sha256": "0" * 64,
            "sha256": "0" * 64,
            "complexity": np.round(rng.lognormal(4.0, 0.5, count), 6),
            "perceptual_hash": hashes,
        }
        frames.append(pl.DataFrame(dict.fromkeys(CANDIDATES) | columns, schema=CANDIDATES))
    pl.concat(frames).write_parquet(path)
    return path
