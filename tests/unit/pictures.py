"""Synthetic photographs and class archives for the tests of the image stages."""

import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CRITERIA = {
    "min_side": 224,
    "max_pixels": 1_000_000,
    "min_contrast": 4.0,
    "min_sharpness": 10.0,
    "max_noise": 40.0,
    "near_duplicate_bits": 4,
    "denied_classes": [],
    "denied_images": [],
}
PREPARATION = {"longest_side": 320, "jpeg_quality": 95}


def photo(seed: int, size: tuple[int, int] = (240, 232)) -> Image.Image:
    """Return a picture of soft colours and sharp shapes, different for each seed."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = soft.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        x, y = rng.integers(0, size[0] - 40), rng.integers(0, size[1] - 40)
        box = [int(v) for v in (x, y, x + rng.integers(10, 40), y + rng.integers(10, 40))]
        pen.rectangle(box, fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    """Return the image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, format=form, **({"quality": 92} if form == "JPEG" else {}) | options)
    return file.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """Return a small PNG whose header promises `side` × `side` pixels."""
    data = bytearray(encoded(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write an uncompressed archive of the members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path
