"""Damaged images are rejected, and intact ones accepted whatever else their files hold."""

import zlib
from collections import Counter

import numpy as np
import pytest
from damage import (
    HARMLESS_JPEG,
    HARMLESS_PNG,
    JPEGS,
    LOST,
    chunk,
    damaged,
    flipped,
    in_front,
    jpeg_file,
    outcome,
    pixels,
    png_file,
    removed,
    shown,
    truncated,
    zeroed,
)
from pictures import CRITERIA, PREPARATION, encoded, photo

from collect_candidates import examine
from imagenet_think.images import decoding, jpeg, png
from imagenet_think.images.rejections import RejectionError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

COUNT = 300

DOUBTFUL_PNG = ("cut short in ", "wrong checksum of ", "no chunk at byte ", "image data are cut")
"""Why a PNG is rejected though it may show the same pixels: the damage is next to them."""


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_a_damaged_png_whose_pixels_differ_is_rejected(mode):
    data = png_file(mode)
    good = pixels(data)
    outcomes = Counter()
    for bad in damaged(data, COUNT, flipped, *LOST.values()):
        found = pixels(bad)
        if not isinstance(found, str):
            assert np.array_equal(found, good)
        elif np.array_equal(shown(bad), good):
            assert found.startswith(tuple(f"undecodable: PNG: {each}" for each in DOUBTFUL_PNG))
        outcomes["accepted" if not isinstance(found, str) else "rejected"] += 1
    assert min(outcomes["accepted"], outcomes["rejected"]) > 0


@pytest.mark.parametrize("place", range(8))
def test_any_wrong_bit_in_the_transparency_of_a_png_counts(place):
    data = png_file("P")
    start = data.index(b"tRNS")
    bad = bytearray(data)
    bad[start + place] ^= 4
    assert pixels(bytes(bad)).startswith("undecodable: PNG: ")


def test_image_data_without_one_of_their_chunks_are_cut_short():
    image = photo(1).convert("L")
    rows = b"".join(b"\0" + bytes(row) for row in np.asarray(image))
    stream = zlib.compress(rows, 0)  # stored: what is left can be decompressed
    header = encoded(image, "PNG")[:33]
    parts = [chunk(b"IDAT", stream[at : at + 9_000]) for at in range(0, len(stream), 9_000)]
    end = chunk(b"IEND", b"")
    whole = header + b"".join(parts) + end
    assert np.array_equal(pixels(whole), np.asarray(image.convert("RGBA")))
    for lost in range(len(parts)):
        bad = header + b"".join(parts[:lost] + parts[lost + 1 :]) + end
        assert pixels(bad).startswith("undecodable: ")
    assert "more than" in pixels(header + chunk(b"IDAT", zlib.compress(bytes(2**20))) + end)


@pytest.mark.parametrize("form", JPEGS)
@pytest.mark.parametrize("lost", LOST)
def test_a_jpeg_with_lost_or_inserted_bytes_is_rejected(form, lost):
    data = jpeg_file(**JPEGS[form])
    good = pixels(data)
    outcomes = Counter(outcome(bad, good) for bad in damaged(data, COUNT // 4, LOST[lost]))
    assert outcomes["different"] == 0
    assert outcomes["rejected"] > COUNT // 8


@pytest.mark.parametrize("lost", [truncated, zeroed, removed])
@pytest.mark.parametrize("extra", ["JFIF 0.00", "strange Adobe transform", "extended XMP"])
def test_a_harmless_header_hides_no_damage(extra, lost):
    data = jpeg_file()
    start = data.index(b"\xff\xda")
    good = pixels(data)
    for bad in damaged(data[start:], 30, lost):
        file = HARMLESS_JPEG[extra](data[:start] + bad)
        assert outcome(file, good) == "rejected"


def test_junk_before_the_end_of_a_jpeg_is_doubtful_and_rejected():
    data = jpeg_file()
    bad = data[:-2] + b"junk\xff\xd9"
    assert np.array_equal(shown(bad), pixels(data))
    assert "extraneous bytes before marker 0xd9" in pixels(bad)


def test_a_progressive_jpeg_without_one_of_its_scans_is_rejected():
    data = jpeg_file(progressive=True)
    starts = [each.start() for each in jpeg._MARKER.finditer(data) if each[0] == b"\xff\xda"]
    ends = [
        next(each.start() for each in jpeg._MARKER.finditer(data, start + 2)) for start in starts
    ]
    assert len(starts) > 5
    for start, end in zip(starts, ends, strict=True):
        assert "undecodable: " in pixels(data[:start] + data[end:])


@pytest.mark.parametrize("name", HARMLESS_JPEG)
@pytest.mark.parametrize("form", [{}, {"progressive": True}])
def test_what_affects_no_pixel_of_a_jpeg_is_harmless(name, form):
    data = encoded(photo(3), **form)
    file = HARMLESS_JPEG[name](data)
    assert np.array_equal(pixels(file), pixels(data))
    assert examine(file, CRITERIA, PREPARATION)["width"] == 240


@pytest.mark.parametrize("name", HARMLESS_PNG)
def test_what_affects_no_pixel_of_a_png_is_harmless(name):
    data = encoded(photo(3), "PNG")
    file = HARMLESS_PNG[name](data)
    assert np.array_equal(pixels(file), pixels(data))
    assert examine(file, CRITERIA, PREPARATION)["width"] == 240


def test_the_parameters_of_a_sequential_scan_are_ignored_and_hide_no_damage():
    data = bytearray(jpeg_file())
    good = pixels(bytes(data))
    start = data.index(b"\xff\xda")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    data[end - 3 : end] = b"\0\0\0"
    assert np.array_equal(pixels(bytes(data)), good)
    data[end + 1_000 : end + 1_512] = bytes(512)
    assert outcome(bytes(data), good) == "rejected"


def test_the_orientation_in_a_pngs_texts_counts():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    data = encoded(photo(1, (260, 240)), "PNG")
    thresholds = CRITERIA, PREPARATION
    assert examine(in_front(chunk(b"iTXt", text))(data), *thresholds)["width"] == 240
    with pytest.raises(RejectionError, match="wrong checksum of iTXt"):
        examine(in_front(chunk(b"iTXt", text, 7))(data), *thresholds)


def test_scans_are_counted_up_to_the_end_of_the_image():
    data = encoded(photo(1), progressive=True)
    for extra in ("motion photo", "second picture", "extended XMP", "comment"):
        assert jpeg.pixels(HARMLESS_JPEG[extra](data)).scans == jpeg.pixels(data).scans


@pytest.mark.parametrize(
    "part", [b"", b"\xff\xda", b"\xff\xc0\0\1", b"\xff\xda\0\2", b"\xff\xe1\0\1", b"\xff\xe1\xff"]
)
def test_half_a_jpeg_is_kept_for_the_decoder_to_reject(part):
    assert jpeg.pixels(b"\xff\xd8" + part).data == b"\xff\xd8" + part


@pytest.mark.parametrize("part", [b"", bytes(40), b"\xff\xff\xff\xffIDAT"])
def test_half_a_png_is_rejected(part):
    with pytest.raises(RejectionError, match="undecodable"):
        decoding.open_image(png.SIGNATURE + part)
