"""Image files damaged at random, by a seed."""

import gzip
import random
from collections.abc import Iterator

from pictures import encoded, photo
from PIL import ImageCms

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROFILE = (
    _SRGB[:24]
    + bytes(12)
    + _SRGB[36:].replace(  # without the time it was made
        "sRGB".encode("utf-16-be"), "mine".encode("utf-16-be")
    )
)
"""A colour profile that has to be converted."""

FORMS = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "cmyk.jpg": ("JPEG", {}),
    "profile.jpg": ("JPEG", {"icc_profile": PROFILE}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "raw.tif": ("TIFF", {}),
    "bmp": ("BMP", {}),
}


def files() -> dict[str, bytes]:
    """Return a good image in each form, and one gzip-compressed."""
    found = {}
    for seed, (name, (form, options)) in enumerate(FORMS.items()):
        image = photo(seed, (232, 226))
        image = image.convert("CMYK") if name.startswith("cmyk") else image
        found[name] = encoded(image, form, **options)
    return found | {"jpg.gz": gzip.compress(found["jpg"], mtime=0)}


def _flip(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Flip a few bits, half the time near the beginning."""
    damaged = bytearray(data)
    reach = rng.choice([len(data), min(len(data), 700)])
    for _ in range(rng.choice([1, 2, 8, 64])):
        damaged[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _truncate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data[: rng.choice([rng.randrange(len(data)), rng.randrange(40)])]


def _swap_header(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Begin like another file."""
    length = rng.choice([4, 16, 64, 600])
    return rng.choice(others)[:length] + data[rng.choice([0, length]) :]


def _splice(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Lose, repeat or overwrite a stretch."""
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    middle = rng.choice([b"", data[a:b] * 2, b"\xff" * (b - a), rng.randbytes(min(b - a, 4_000))])
    return data[:a] + middle + data[b:]


def mutations(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield file names, many with the wrong ending, and damaged contents."""
    rng = random.Random(seed)
    good = files()
    names, contents = list(good), list(good.values())
    for number in range(count):
        data = good[rng.choice(names)]
        for _ in range(rng.choice([1, 1, 2])):
            data = rng.choice([_flip, _truncate, _swap_header, _splice])(
                rng, data or b"\0", contents
            )
        yield f"{number}.{rng.choice(names)}", data
