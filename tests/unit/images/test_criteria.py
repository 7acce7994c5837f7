import io

import numpy as np
import pytest
from pictures import CRITERIA, bomb, encoded, noise, photo
from PIL import Image, ImageFilter

from imagenet_think.images import criteria
from imagenet_think.images.luma import luma
from imagenet_think.images.rejections import RejectionError


def reason(function, *args):
    try:
        function(*args)
    except RejectionError as rejection:
        return rejection.reason
    return None


def test_a_photo_meets_every_criterion():
    grey = luma(photo(1))
    criteria.require_contrast(grey, CRITERIA["min_contrast"])
    criteria.require_sharpness(grey, CRITERIA["min_sharpness"])
    criteria.require_little_noise(grey, CRITERIA["max_noise"])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((224, 224), None), ((223, 500), "too_small"), ((500, 223), "too_small")],
)
def test_sides(size, expected):
    assert reason(criteria.require_sides, size, 224) == expected


def test_pixels_are_counted_before_decoding():
    image = criteria.open_image(bomb())
    assert image.size == (60_000, 60_000)
    assert reason(criteria.require_pixels, image.size, 100_000_000) == "too_many_pixels"
    assert reason(criteria.require_pixels, (10_000, 10_000), 100_000_000) is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a text file that pretends", "not_an_image"),
        (b"", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n", "not_an_image"),
        (encoded(photo(1))[:12], "undecodable"),
        (encoded(photo(1), "PNG")[:20], "undecodable"),
    ],
)
def test_what_cannot_be_opened(data, expected):
    assert reason(criteria.open_image, data) == expected


def test_details_hold_no_address():
    with pytest.raises(RejectionError) as caught, criteria.decoding():
        raise OSError(f"cannot read {io.BytesIO()!r}")
    assert caught.value.detail == "OSError: cannot read <_io.BytesIO object at 0x…>"


def test_a_full_memory_is_not_the_images_fault():
    with pytest.raises(MemoryError), criteria.decoding():
        raise MemoryError


def test_contrast_is_the_standard_deviation():
    grey = np.tile([100.0, 108.0], (240, 120))
    assert reason(criteria.require_contrast, grey, 4.0) is None
    assert reason(criteria.require_contrast, grey, 4.1) == "low_contrast"


def test_sharpness_by_hand():
    grey = np.zeros((5, 5))
    grey[2, 2] = 1.0
    # The nine places where the kernel fits hold four 1, one -4 and four 0.
    assert criteria.sharpness(grey) == pytest.approx(np.var([1, 1, 1, 1, -4, 0, 0, 0, 0]))


def test_blur_lowers_sharpness_below_the_limit():
    blurred = luma(photo(1).filter(ImageFilter.GaussianBlur(6)))
    assert reason(criteria.require_sharpness, blurred, CRITERIA["min_sharpness"]) == "blurred"


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_noise_is_estimated_on_top_of_a_gradient(sigma):
    plane = np.add.outer(np.arange(300.0), 2 * np.arange(300.0))
    grey = plane + np.random.default_rng(1).normal(0, sigma, plane.shape)
    assert criteria.noise(plane) == pytest.approx(0, abs=1e-9)
    assert criteria.noise(grey) == pytest.approx(sigma, rel=0.03)


def test_white_noise_is_too_noisy():
    assert reason(criteria.require_little_noise, luma(noise(1)), CRITERIA["max_noise"]) == "noisy"


def test_an_unknown_reason_is_refused():
    with pytest.raises(ValueError, match="no reason"):
        RejectionError("ugly", "")


def test_luma_is_bt601():
    assert luma(Image.new("RGB", (3, 2), (255, 0, 0))).tolist() == [[76.0] * 3] * 2


BLOCK = 512


def _lost(data, start):
    return data[:start] + data[start + BLOCK :]


def _zeros(data, start):
    return data[:start] + bytes(BLOCK) + data[start + BLOCK :]


@pytest.mark.parametrize("spoil", [_lost, _zeros])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_with_a_spoilt_block_inside_is_not_intact(spoil, options):
    data = encoded(photo(1), **options)
    assert reason(criteria.require_intact, criteria.open_image(data), data) is None
    for start in range(1_000, len(data) - 2 * BLOCK, BLOCK):
        bad = spoil(data, start)
        assert reason(criteria.require_intact, criteria.open_image(bad), bad) == "undecodable"


@pytest.mark.parametrize("options", [{"mode": "L"}, {"mode": "CMYK"}, {"keep_rgb": True}])
def test_jpegs_of_every_colour_space_are_intact(options):
    data = encoded(photo(1).convert(options.pop("mode", "RGB")), **options)
    criteria.require_intact(criteria.open_image(data), data)
    criteria.require_intact(criteria.open_image(data + b"junk after the end"), data)


def test_a_scorer_of_ones_own(tmp_path, monkeypatch):
    bright, dark = (Image.new("RGB", (9, 9), (level,) * 3) for level in (200, 9))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "corner.py").write_text(
        "def judge(image):\n"
        "    return 'a bright corner' if image.getpixel((0, 0))[0] > 127 else None\n"
        "def wrong(image):\n"
        "    return 0.7\n"
    )
    criteria.require_score(bright, None)
    for scorer in ("corner:judge", f"{tmp_path / 'corner.py'}:judge"):
        criteria.require_score(dark, scorer)
        with pytest.raises(RejectionError, match="scorer: a bright corner"):
            criteria.require_score(bright, scorer)
    with pytest.raises(TypeError, match=r"corner:wrong returned 0.7"):
        criteria.require_score(bright, "corner:wrong")


def test_deny_files_add_to_the_lists(tmp_path):
    path = tmp_path / "denied.txt"
    path.write_text("# licence withdrawn\n\nn1_5\n n1_7 \n")
    rules = criteria.with_deny_files(
        CRITERIA | {"denied_images": ["n1_2"], "denied_images_file": path}
    )
    assert rules["denied_images"] == {"n1_2", "n1_5", "n1_7"}
    assert rules["denied_classes"] == frozenset()
