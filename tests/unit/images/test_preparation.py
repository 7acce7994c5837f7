import io

import numpy as np
import pytest
from pictures import encoded, photo
from PIL import Image, ImageCms

from imagenet_think.images import decoding
from imagenet_think.images.preparation import orientation, prepare, to_rgb

RED, BLUE = (250, 10, 10), (10, 10, 250)


def prepared(data, longest_side=320, jpeg_quality=95):
    return prepare(data, decoding.open_image(data), longest_side, jpeg_quality)


def stored(data, **settings):
    image = Image.open(io.BytesIO(prepared(data, **settings).data))
    image.load()
    return image


def near(pixel, expected):
    return max(abs(a - b) for a, b in zip(pixel, expected, strict=True)) < 25


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
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
        (np.linspace(-1, 1, 256, dtype=np.float32), "TIFF"),
    ],
)
def test_16_bit_grey_is_scaled_not_clipped_and_floats_are_stretched(levels, form):
    image = decoding.open_image(encoded(Image.fromarray(np.tile(levels, (240, 1))), form))
    image.load()
    grey = np.asarray(to_rgb(image))[0, :, 0].astype(int)
    assert np.abs(grey - np.arange(256)).max() <= 1
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


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile():
    """Return an RGB profile, not called sRGB, whose red and green primaries are exchanged."""
    data = srgb_profile().replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    data = data.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1)
    return data.replace(b"????", b"gXYZ", 1)


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("TIFF", "RGB")])
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
