"""Damaged image files: each is accepted or rejected with a reason, in bounded time."""

import contextlib
import gzip
import io
import random
import time
from collections import Counter
from collections.abc import Iterator

import polars as pl
import pytest
from image_stages import candidates, collected
from pictures import CRITERIA, PREPARATION, encoded, photo
from PIL import Image, ImageCms
from source_forms import class_tars

from collect_candidates import examine
from imagenet_think.images.criteria import REASONS
from imagenet_think.images.decoding import MAX_SCANS
from imagenet_think.images.rejections import RejectionError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

COUNT = 2_000
SLOWER = 100
"""Times the processor time of the slowest undamaged file; usual is less than 2."""

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NAMED = SRGB[36:].replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
PROFILE = SRGB[:24] + bytes(12) + NAMED  # without the time it was made
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
    "avif": ("AVIF", {}),
    "jp2": ("JPEG2000", {}),
    "ppm": ("PPM", {}),
}


def files() -> dict[str, bytes]:
    """Return a good image in each form, and one gzip-compressed."""
    found = {}
    for seed, (name, (form, options)) in enumerate(FORMS.items()):
        image = photo(seed, (232, 226))
        image = image.convert("CMYK") if name.startswith("cmyk") else image
        found[name] = encoded(image, form, **options)
    return found | {"jpg.gz": gzip.compress(found["jpg"], mtime=0)}


def _flip(rng, data, others):
    """Flip a few bits, half the time near the beginning."""
    damaged = bytearray(data)
    reach = rng.choice([len(data), min(len(data), 700)])
    for _ in range(rng.choice([1, 2, 8, 64])):
        damaged[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _truncate(rng, data, others):
    return data[: rng.choice([rng.randrange(len(data)), rng.randrange(40)])]


def _swap_header(rng, data, others):
    """Begin like another file."""
    length = rng.choice([4, 16, 64, 600])
    return rng.choice(others)[:length] + data[rng.choice([0, length]) :]


def _splice(rng, data, others):
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
            damage = rng.choice([_flip, _truncate, _swap_header, _splice])
            data = damage(rng, data or b"\0", contents)
        yield f"{number}.{rng.choice(names)}", data


def test_every_damaged_file_is_accepted_or_rejected_with_a_reason(tmp_path):
    damaged = dict(mutations(COUNT, seed=2510))
    assert len(damaged) == COUNT
    source = class_tars(tmp_path / "source", {"n1": damaged})
    rows = candidates(collected(tmp_path, source, ["n1"], wanted=COUNT, groups=1, threads=2))
    assert len(rows) == COUNT
    reasons = Counter(rows["reason"])
    assert reasons.keys() <= {None, *REASONS}
    assert min(reasons[None], reasons["undecodable"], reasons["not_an_image"]) > 20
    assert rows.drop_nulls("reason")["detail"].null_count() == 0
    for row in rows.filter(pl.col("reason").is_null()).iter_rows(named=True):
        with Image.open(io.BytesIO(row["image"])) as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert image.size == (row["width"], row["height"])


def test_no_damaged_file_takes_long():
    def taken(data):
        start = time.process_time()
        with contextlib.suppress(RejectionError):
            examine(data, CRITERIA, PREPARATION)
        return time.process_time() - start

    for name, data in files().items():
        if not name.endswith(".gz"):
            assert examine(data, CRITERIA, PREPARATION)["width"] == 232, name
    usual = max(map(taken, files().values()))
    for name, data in mutations(400, seed=7):
        assert taken(data) < SLOWER * usual, name


def test_a_jpeg_of_many_scans_is_not_decoded():
    data = encoded(photo(1), progressive=True)
    assert data.count(b"\xff\xda") < MAX_SCANS // 2
    examine(data, CRITERIA, PREPARATION)
    last = data.rfind(b"\xff\xda")
    many = data[:-2] + data[last:-2] * MAX_SCANS + data[-2:]
    with pytest.raises(RejectionError, match="too_many_scans: "):
        examine(many, CRITERIA, PREPARATION)
