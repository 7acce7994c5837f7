import io
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import CRITERIA, PREPARATION, encoded, photo
from PIL import Image, ImageCms

from imagenet_think.core.pools import Budget
from imagenet_think.images import decoding, preparation
from imagenet_think.images.preparation import decode, orientation, prepare, to_rgb
from imagenet_think.images.rejections import RejectionError

RED, BLUE = (250, 10, 10), (10, 10, 250)


def prepared(data, longest_side=320, jpeg_quality=95):
    return prepare(data, decoding.open_image(data), longest_side, jpeg_quality)


def stored(data, **settings):
    image = Image.open(io.BytesIO(prepared(data, **settings).data))
    image.load()
    return image


def near(pixel, expected):
    return max(abs(a - b) for a, b in zip(pixel, expected, strict=True)) < 25


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_other_formats_become_jpeg_without_the_sources_comment(form):
    image = stored(encoded(photo(1), form, **({"comment": b"secret"} if form == "GIF" else {})))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (240, 232))
    assert "comment" not in image.info


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 480), (320, 240)), ((300, 900), (107, 320)), ((320, 9), (320, 9))]
)
def test_the_longest_side_is_bounded(size, expected):
    result = prepared(encoded(photo(1).resize(size)))
    assert result.image.size == expected
    assert Image.open(io.BytesIO(result.data)).size == expected


@pytest.mark.parametrize("value", range(1, 9))
def test_every_exif_orientation_is_turned_upright(value):
    # Upright: red on top, with a blue corner at the top right.
    upright = Image.new("RGB", (300, 240), "white")
    upright.paste(RED, (0, 0, 300, 80))
    upright.paste(BLUE, (220, 0, 300, 80))
    # How a camera stores it: the inverse of what the viewer must do (EXIF 2.3, tag 0x0112).
    T = Image.Transpose
    mirrored = (T.FLIP_LEFT_RIGHT, T.ROTATE_180, T.FLIP_TOP_BOTTOM, T.TRANSPOSE)
    inverse = [None, *mirrored, T.ROTATE_90, T.TRANSVERSE, T.ROTATE_270][value - 1]
    kept = upright if inverse is None else upright.transpose(inverse)
    exif = Image.Exif()
    exif[0x0112] = value
    image = stored(encoded(kept, exif=exif))
    assert image.size == (300, 240)
    assert near(image.getpixel((40, 40)), RED)
    assert near(image.getpixel((260, 40)), BLUE)
    assert near(image.getpixel((150, 200)), (255, 255, 255))
    assert orientation(image) == 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(mode):
    half = Image.new("RGBA", (240, 240), (*RED, 255))
    half.paste((0, 0, 0, 0), (120, 0, 240, 240))
    image = to_rgb(half.convert(mode))
    assert image.mode == "RGB"
    assert near(image.getpixel((200, 100)), (255, 255, 255))
    assert not near(image.getpixel((50, 100)), (255, 255, 255))


@pytest.mark.parametrize("paletted", [True, False])
def test_a_transparent_colour_becomes_white(paletted):
    image, colour = Image.new("RGB", (240, 240), RED), BLUE
    image.paste(BLUE, (120, 0, 240, 240))
    if paletted:
        image = image.quantize(2)
        colour = image.getpixel((200, 100))
    result = stored(encoded(image, "PNG", transparency=colour))
    assert near(result.getpixel((50, 100)), RED)
    assert near(result.getpixel((200, 100)), (255, 255, 255))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_modes_keep_their_colours_as_rgb(mode):
    source = Image.new(mode, (240, 240), "brown")
    image = stored(encoded(source))
    assert image.mode == "RGB"
    assert near(image.getpixel((9, 9)), source.convert("RGB").getpixel((9, 9)))


@pytest.mark.parametrize(
    ("levels", "form"),
    [
        (np.linspace(0, 65_535, 256).round().astype(np.uint16), "PNG"),
        (np.linspace(0, 65_535, 256).round().astype(np.uint16), "TIFF"),
        (np.linspace(0, 65_535, 256).round().astype(np.uint16), "PPM"),
        (np.linspace(0, 65_535, 256).round().astype(np.uint16)[:128], "PPM"),
        (np.linspace(-1, 1, 256, dtype=np.float32), "TIFF"),
    ],
)
def test_16_bit_grey_is_scaled_not_clipped_and_floats_are_stretched(levels, form):
    image = decoding.open_image(encoded(Image.fromarray(np.tile(levels, (240, 1))), form))
    image.load()
    grey = np.asarray(to_rgb(image))[0, :, 0].astype(int)
    assert np.abs(grey - np.arange(len(levels))).max() <= 1
    assert to_rgb(Image.new("F", (4, 4), 3.0)).getpixel((0, 0)) == (0, 0, 0)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (240, 240), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert near(stored(data).getpixel((9, 9)), RED)


def test_the_same_input_gives_the_same_bytes_and_an_image_cut_short_raises():
    data = encoded(photo(1, (700, 500)), "PNG")
    assert prepared(data).data == prepared(data).data
    assert prepared(data).data != prepared(data, jpeg_quality=60).data
    with pytest.raises(OSError, match="truncated"):
        prepared(encoded(photo(1))[:-3_000])


@pytest.mark.parametrize("form", ["AVIF", "JPEG2000", "PPM"])
def test_other_formats_keep_their_colours_and_are_rejected_cut_short(form):
    data = encoded(Image.new("RGB", (240, 240), "brown"), form)
    assert near(stored(data).getpixel((9, 9)), (165, 42, 42))
    data = encoded(photo(1), form)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(RejectionError, match="undecodable"):
            decode(data[: int(share * len(data))], CRITERIA, PREPARATION)


WHITE = b"XYZ " + bytes(4) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)  # D50


def icc(space, **tags):
    """Return a colour profile of tags with their contents (ICC.1:2001-04)."""
    place, table, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name.encode() + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI", place + len(body), b"lcms", 0x02100000)
    header += b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28) + WHITE[8:] + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


LINEAR = icc(
    b"GRAY",
    desc=b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear\0" + bytes(78),
    wtpt=WHITE,
    kTRC=b"curv" + bytes(8),
)
"""A profile of grey levels that are proportional to light."""


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "L"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "I;16"), ("TIFF", "L"), ("TIFF", "I;16")],
)
@pytest.mark.parametrize("level", [20, 64, 200])
def test_a_profile_of_grey_levels_is_converted(form, mode, level):
    levels = np.full((240, 240), 257 * level if mode == "I;16" else level)
    image = Image.fromarray(levels.astype(np.uint16 if mode == "I;16" else np.uint8))
    image = image.convert("LA") if mode == "LA" else image
    light = level / 255
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)  # sRGB, IEC 61966-2-1
    pixel = stored(encoded(image, form, icc_profile=LINEAR)).getpixel((9, 9))
    assert pixel == pytest.approx((expected,) * 3, abs=3)
    assert stored(encoded(image, form)).getpixel((9, 9)) == pytest.approx((level,) * 3, abs=1)


def test_transparency_is_kept_through_a_profile():
    half = Image.new("LA", (240, 240), (64, 255))
    half.paste((0, 0), (120, 0, 240, 240))
    image = stored(encoded(half, "PNG", icc_profile=LINEAR))
    assert near(image.getpixel((200, 100)), (255, 255, 255))
    assert near(image.getpixel((50, 100)), (137, 137, 137))


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile():
    """Return an RGB profile, not called sRGB, whose red and green primaries are exchanged."""
    data = srgb_profile().replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    data = data.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1)
    return data.replace(b"????", b"gXYZ", 1)


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("TIFF", "RGB"), ("PNG", "P")]
)
def test_a_foreign_colour_profile_is_converted_to_srgb(form, mode):
    red = Image.new(mode, (240, 240), RED)
    image = stored(encoded(red, form, icc_profile=swapped_profile()))
    assert near(image.getpixel((100, 100)), (RED[1], RED[0], RED[2]))
    assert "icc_profile" not in image.info


# Named: a profile holds the second in which it was made.
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exif": b"Exif\0\0" + b"\xde\xad\xbe\xef" * 8},
        {"icc_profile": srgb_profile()},
        {"icc_profile": b"broken"},
        {"icc_profile": srgb_profile()[:100]},
    ],
    ids=["plain", "broken EXIF", "sRGB profile", "text as profile", "profile cut off"],
)
def test_a_conforming_jpeg_keeps_its_bytes(options):
    data = encoded(photo(1, (320, 240)), **options)
    result = prepared(data)
    assert result.data == data
    assert result.image.mode == "RGB"


def test_a_profile_that_cannot_be_converted_leaves_the_colours():
    cut = swapped_profile()[:300]
    image = stored(encoded(Image.new("RGB", (240, 240), RED), icc_profile=cut))
    assert near(image.getpixel((100, 100)), RED)


def test_a_profile_for_another_kind_of_image_counts_as_none():
    data = encoded(photo(1).convert("CMYK"), icc_profile=swapped_profile())
    plain = encoded(photo(1).convert("CMYK"))
    assert prepared(data).data == prepared(plain).data


# Memory -------------------------------------------------------------------------------------------


MEASURE = """
import io, sys
sys.path[:0] = sys.argv[1:3]
import numpy as np
from PIL import Image
from imagenet_think.images.preparation import decode

def memory(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

kind, side = sys.argv[3], 5_000
rows = np.linspace(0, 1, side, dtype=np.float32)[:, None] * np.ones(side, dtype=np.float32)
levels = {"F": rows, "I;16": (rows * 60_000).astype(np.uint16)}
image = Image.fromarray(levels[kind]) if kind in levels else Image.new(kind, (side, side), "red")
file = io.BytesIO()
image.save(file, "PNG" if kind == "RGBA" else "TIFF")
del image, rows, levels
open("/proc/self/clear_refs", "w").write("5")  # resets the peak
start = memory("VmRSS")
decode(file.getvalue(), {"max_pixels": 10**9}, {"longest_side": 1024, "jpeg_quality": 95})
print((memory("VmHWM") - start) / side**2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["F", "I;16", "RGBA", "CMYK"])
def test_a_large_image_takes_at_most_twenty_bytes_per_pixel(kind):
    scripts = Path(decoding.__file__).parents[2]
    command = [sys.executable, "-c", MEASURE, str(scripts), str(scripts / "images"), kind]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(found.stdout) < 20


def test_pixels_in_flight_are_bounded(monkeypatch):
    held, lock, most = [0], threading.Lock(), []

    def counted(data, image, **settings):
        with lock:
            held[0] += image.width * image.height
            most.append(held[0])
        time.sleep(0.002)
        with lock:
            held[0] -= image.width * image.height

    bound = 130_000
    monkeypatch.setattr(preparation, "prepare", counted)
    monkeypatch.setattr(preparation, "_IN_FLIGHT", Budget(bound))
    files = [encoded(photo(1, (side, 230))) for side in (230, 240, 250, 900)]  # the last is larger
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: decode(data, CRITERIA, PREPARATION), files * 10))
    alone = 900 * 230
    assert max(most) == alone
    assert max(each for each in most if each != alone) <= bound
