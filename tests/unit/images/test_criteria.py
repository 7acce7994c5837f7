import ast
import io
from pathlib import Path

import numpy as np
import pytest
from pictures import CRITERIA, bomb, encoded, photo
from PIL import Image

from imagenet_think.images import criteria, decoding, rejections
from imagenet_think.images.criteria import Candidate
from imagenet_think.images.luma import luma
from imagenet_think.images.rejections import RejectionError

SCRIPTS = Path(criteria.__file__).parents[2]


class Grey(Candidate):
    """A candidate that is known by its grey levels."""

    def __init__(self, grey):
        super().__init__()
        self.__dict__["grey"] = grey


def reason(function, *args):
    row = {"reason": None}
    with rejections.recorded(row):
        function(*args)
    return row["reason"]


def rejection(stage, candidate, **thresholds):
    return reason(criteria.require, stage, candidate, thresholds)


# The list -----------------------------------------------------------------------------------------


def test_every_reason_in_the_code_is_declared():
    found = set()
    places = {"RejectionError": 0, "Entry": 1}
    for file in SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=given) if name in places:
                    texts = [
                        each for each in given[places[name] :] if isinstance(each, ast.Constant)
                    ]
                    found.update(each.value for each in texts if isinstance(each.value, str))
    assert {"damaged_archive", "no_class", "clashing_id", "near_duplicate"} <= found
    assert {name for name in found if name.isidentifier()} <= criteria.REASONS.keys()
    assert len(criteria.REASONS) == len(rejections.READING) + len(criteria.CRITERIA)


@pytest.mark.parametrize("criterion", criteria.CRITERIA, ids=lambda each: each.reason)
def test_every_criterion_says_what_it_rejects(criterion):
    assert criterion.meaning
    denied = [f"{n}" for n in range(37)]
    thresholds = {"denied_classes": denied, "denied_images": denied, "scorer": "my:37"}
    key = criterion.threshold
    (rule,) = criteria.rules({key: thresholds.get(key, 37)})
    assert "37" in rule


def test_a_criterion_without_a_threshold_is_not_applied():
    unused = {"scorer": None, "denied_images": [], "denied_classes": set()}
    assert not list(criteria.applied(unused))
    assert [each.reason for each, _ in criteria.applied(CRITERIA)] == [
        *("too_many_pixels", "too_small", "low_contrast", "blurred", "noisy", "near_duplicate")
    ]


# Criteria -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["header", "pixels"])
@pytest.mark.parametrize(
    ("size", "expected"), [((224, 224), None), ((223, 500), "too_small"), ((500, 223), "too_small")]
)
def test_sides(stage, size, expected):
    assert rejection(stage, Candidate(size=size), min_side=224) == expected


def test_pixels_are_counted_before_decoding():
    image = decoding.open_image(bomb())
    assert image.size == (60_000, 60_000)
    bound = 100_000_000
    assert rejection("decoding", Candidate(size=image.size), max_pixels=bound) == "too_many_pixels"
    assert rejection("decoding", Candidate(size=(10_000, 10_000)), max_pixels=bound) is None


@pytest.mark.parametrize(("least", "expected"), [(4.0, None), (4.1, "low_contrast")])
def test_contrast_is_the_standard_deviation(least, expected):
    grey = np.tile([100.0, 108.0], (240, 120))
    assert rejection("pixels", Grey(grey), min_contrast=least) == expected


def test_sharpness_by_hand():
    grey = np.zeros((5, 5))
    grey[2, 2] = 1.0
    # The nine places where the kernel fits hold four 1, one -4 and four 0.
    assert criteria.sharpness(grey) == pytest.approx(np.var([1, 1, 1, 1, -4, 0, 0, 0, 0]))


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_noise_is_estimated_on_top_of_a_gradient(sigma):
    plane = np.add.outer(np.arange(300.0), 2 * np.arange(300.0))
    grey = plane + np.random.default_rng(1).normal(0, sigma, plane.shape)
    assert criteria.noise(plane) == pytest.approx(0, abs=1e-9)
    assert criteria.noise(grey) == pytest.approx(sigma, rel=0.03)


def test_luma_is_bt601():
    assert luma(Image.new("RGB", (3, 2), (255, 0, 0))).tolist() == [[76.0] * 3] * 2


def test_a_scorer_of_the_user(tmp_path, monkeypatch):
    bright, dark = (Candidate(prepared=Image.new("RGB", (9, 9), each)) for each in ("white", 0))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "corner.py").write_text(
        "def judge(image):\n"
        "    return 'a bright corner' if image.getpixel((0, 0))[0] > 127 else None\n"
        "def wrong(image):\n"
        "    return 0.7\n"
    )
    for scorer in ("corner:judge", f"{tmp_path / 'corner.py'}:judge"):
        assert rejection("pixels", dark, scorer=scorer) is None
        with pytest.raises(RejectionError, match="scorer: a bright corner"):
            criteria.require("pixels", bright, {"scorer": scorer})
    with pytest.raises(TypeError, match=r"corner:wrong returned 0.7"):
        criteria.require("pixels", bright, {"scorer": "corner:wrong"})


@pytest.mark.parametrize("text", ["# withdrawn\n\nn1_5\n n1_7 \n", "\ufeffn1_5\r\nn1_7"])
def test_deny_files_add_to_the_lists(tmp_path, text):
    path = tmp_path / "denied.txt"
    path.write_text(text)
    listed = {"denied_images": ["n1_2"], "denied_images_file": path}
    thresholds = criteria.with_deny_files(CRITERIA | listed)
    assert thresholds["denied_images"] == {"n1_2", "n1_5", "n1_7"}
    assert rejection("name", Candidate("n1", "n1_7"), **thresholds) == "denied_image"
    assert rejection("name", Candidate("n1", "n1_3"), **thresholds) is None


# Opening and decoding -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a text file that pretends", "not_an_image"),
        (b"", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n", "not_an_image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported_format"),
        (b"8BPS\0\1" + bytes(20), "unsupported_format"),
        (b"\xff\x0a" + bytes(20), "unsupported_format"),
        (encoded(photo(1))[:12], "undecodable"),
        (encoded(photo(1), "PNG")[:20], "undecodable"),
    ],
)
def test_what_cannot_be_opened(data, expected):
    assert reason(decoding.open_image, data) == expected


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC, which is not read: convert it to PNG or JPEG, for instance"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL, which is not read: convert it"),
        (b"\0\0\0\x20ftypisom", "a video: export an image from it"),
        (b"%PDF-1.7", "PDF: convert it to PNG or JPEG"),
        (b"<!DOCTYPE html>", "an HTML page, as a failed download leaves: download"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS: run `git lfs pull`"),
        (bytes(40), "40 bytes, zeros: download the file again"),
        (b"no picture", "10 bytes, beginning 6e 6f"),
    ],
)
def test_what_is_not_read_is_named_with_a_remedy(start, words):
    with pytest.raises(RejectionError) as caught:
        decoding.open_image(start)
    assert words in caught.value.detail


def test_details_hold_no_address_and_running_out_of_memory_rejects_no_image():
    with pytest.raises(RejectionError) as caught, decoding.decoding():
        raise OSError(f"cannot read {io.BytesIO()!r}")
    assert caught.value.detail == "OSError: cannot read <_io.BytesIO object at 0x…>"
    with pytest.raises(MemoryError), decoding.decoding():
        raise MemoryError


@pytest.mark.parametrize("options", [{"mode": "L"}, {"mode": "CMYK"}, {"keep_rgb": True}])
def test_jpegs_of_every_colour_space_are_intact(options):
    data = encoded(photo(1).convert(options.pop("mode", "RGB")), **options)
    for file in (data, data + b"junk after the end"):
        decoding.require_intact(decoding.open_image(file), file)
