"""Damaged image files: each is accepted or rejected with a reason, in bounded time."""

import contextlib
import io
import time
from collections import Counter

import polars as pl
import pytest
from image_stages import candidates, collected
from mutations import files, mutations
from pictures import CRITERIA, PREPARATION, encoded, photo
from PIL import Image
from source_forms import class_tars

from collect_candidates import examine
from imagenet_think.images.criteria import REASONS
from imagenet_think.images.decoding import MAX_SCANS
from imagenet_think.images.rejections import RejectionError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

COUNT = 2_000
SLOWER = 100
"""Times the processor time of the slowest undamaged file; usual is less than 2."""


def test_every_damaged_file_is_accepted_or_rejected_with_a_reason(tmp_path):
    damaged = dict(mutations(COUNT, seed=2510))
    assert len(damaged) == COUNT
    source = class_tars(tmp_path / "source", {"n1": damaged})
    rows = candidates(collected(tmp_path, source, ["n1"], wanted=COUNT, groups=1, threads=2))
    assert len(rows) == COUNT
    reasons = Counter(rows["reason"])
    assert reasons.keys() <= {None, *REASONS}
    assert min(reasons[None], reasons["undecodable"], reasons["not_an_image"]) > 20
    assert rows.filter(pl.col("reason").is_not_null())["detail"].null_count() == 0
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

    usual = max(map(taken, files().values()))
    for name, data in mutations(400, seed=7):
        assert taken(data) < SLOWER * usual, name


def test_the_undamaged_files_are_images():
    for name, data in files().items():
        if not name.endswith(".gz"):
            assert examine(data, CRITERIA, PREPARATION)["width"] == 232, name


def test_a_jpeg_of_many_scans_is_not_decoded():
    data = encoded(photo(1), progressive=True)
    assert data.count(b"\xff\xda") < MAX_SCANS // 2
    examine(data, CRITERIA, PREPARATION)
    last = data.rfind(b"\xff\xda")
    many = data[:-2] + data[last:-2] * MAX_SCANS + data[-2:]
    with pytest.raises(RejectionError, match="too_many_scans: "):
        examine(many, CRITERIA, PREPARATION)
