import io
import tarfile
from dataclasses import replace
from random import Random

import imagehash
import numpy as np
import pytest
from PIL import Image

from draw_images import FLAWS, draw_images
from imagenet_think.miniature.drawings import (
    BACKGROUNDS,
    COLOURS,
    NAMES,
    SIDES,
    Scene,
    draw,
    places,
    sample_scene,
    scene_of,
)

SEED = 7
DRAWINGS = 4
PLAIN = Scene(
    wnid="n09444783",
    colour="red",
    background="gray",
    count=1,
    size="large",
    place="left",
    clutter="none",
    light="even",
    side=224,
    seed=3,
)


def pixels(scene):
    return np.asarray(draw(scene)).astype(int)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    draw_images(folder, list(NAMES), DRAWINGS, SEED)
    return folder


def members(archive):
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_classes_are_real_and_of_four_domains_at_least():
    with open("resources/imagenet21k_p_winter21.tsv", encoding="utf-8") as file:
        rows = {line.split("\t")[0]: line.split("\t") for line in file}
    assert len(NAMES) >= 12
    assert all(name in rows[wnid][1].split(", ") for wnid, name in NAMES.items())
    assert len({rows[wnid][2] for wnid in NAMES}) >= 4


@pytest.mark.parametrize("wnid", NAMES)
def test_every_class_draws_in_every_number_and_size(wnid):
    for count in (1, 2, 3):
        for size in ("small", "large"):
            scene = replace(PLAIN, wnid=wnid, count=count, size=size, place="middle")
            image = draw(scene)
            assert image.size == (224, 224)
            assert image.mode == "RGB"
            at = places(scene)
            assert len(at) == count
            assert all(r <= x <= 1 - r and y - 0.95 * r >= 0.02 for x, y, r in at)
            assert all(y + 0.95 * r <= 0.98 for _, y, r in at)


def test_classes_look_different():
    grey = [
        np.asarray(draw(replace(PLAIN, wnid=wnid, place="middle")).convert("L")).astype(float)
        for wnid in NAMES
    ]
    for i, one in enumerate(grey):
        assert all(np.abs(one - other).mean() > 5 for other in grey[:i])


@pytest.mark.parametrize(
    "change",
    [
        {"wnid": "n02512053"},
        {"colour": "blue"},
        {"background": "pink"},
        {"count": 3},
        {"size": "small"},
        {"place": "right"},
        {"clutter": "dots"},
        {"light": "dim"},
        {"seed": 4},
    ],
)
def test_every_property_shows(change):
    assert np.abs(pixels(PLAIN) - pixels(replace(PLAIN, **change))).mean() > 0.5


def test_the_object_stands_where_and_in_the_colour_that_the_scene_says():
    empty = pixels(PLAIN)[:, -20:].reshape(-1, 3).mean(0)
    (x, y, _), *_ = places(PLAIN)
    patch = pixels(PLAIN)[
        int(y * 224) + 14 : int(y * 224) + 24, int(x * 224) - 8 : int(x * 224) + 8
    ]
    assert np.abs(patch.reshape(-1, 3).mean(0) - COLOURS["red"]).max() < 45
    assert np.abs(empty - BACKGROUNDS["gray"]).max() < 45


def test_clutter_lies_under_the_objects():
    changed = np.abs(pixels(PLAIN) - pixels(replace(PLAIN, clutter="squares"))).sum(2) > 60
    (x, y, radius), *_ = places(PLAIN)
    inner = int(0.1 * radius * 224)
    at_x, at_y = int(x * 224), int(y * 224)
    assert changed.any()
    assert not changed[at_y - inner : at_y + inner, at_x - inner : at_x + inner].any()


def test_truth_depends_on_seed_class_and_number_alone():
    assert scene_of(1, "n09444783", 5) == scene_of(1, "n09444783", 5)
    others = {scene_of(2, "n09444783", 5), scene_of(1, "n09444783", 6), scene_of(1, "n13104059", 5)}
    assert scene_of(1, "n09444783", 5) not in others
    assert len(others) == 3


def test_scenes_vary_in_everything():
    scenes = [sample_scene(Random(n), "n09444783") for n in range(300)]
    for field, least in (
        ("colour", 8),
        ("background", 6),
        ("count", 3),
        ("size", 2),
        ("place", 3),
        ("clutter", 4),
        ("light", 3),
        ("side", len(SIDES)),
    ):
        assert len({getattr(scene, field) for scene in scenes}) == least


def test_unknown_class_is_named():
    with pytest.raises(KeyError, match="n00000000"):
        scene_of(1, "n00000000", 0)


def test_archives_hold_the_drawings_that_the_truth_names(archives):
    for wnid in NAMES:
        held = members(archives / f"{wnid}.tar")
        assert list(held) == [f"{wnid}_{n}.JPEG" for n in range(DRAWINGS + len(FLAWS))]
        for number in range(DRAWINGS):
            image = Image.open(io.BytesIO(held[f"{wnid}_{number}.JPEG"]))
            assert image.format == "JPEG"
            assert min(image.size) >= 224
            drawn = pixels(scene_of(SEED, wnid, number))
            assert np.abs(np.asarray(image).astype(int) - drawn).mean() < 5


def test_flaws_are_planted(archives):
    for wnid in NAMES:
        held = members(archives / f"{wnid}.tar")
        flawed = {
            flaw: held[f"{wnid}_{DRAWINGS + number}.JPEG"] for number, flaw in enumerate(FLAWS)
        }
        assert max(Image.open(io.BytesIO(flawed["too_small"])).size) < 224
        truncated = Image.open(io.BytesIO(flawed["truncated"]))
        with pytest.raises(OSError, match="truncated"):
            truncated.load()
        with pytest.raises(Image.UnidentifiedImageError):
            Image.open(io.BytesIO(flawed["not_an_image"]))
        assert np.asarray(Image.open(io.BytesIO(flawed["blank"]))).std() < 1
        double = imagehash.phash(Image.open(io.BytesIO(flawed["near_duplicate"])))
        good = [
            imagehash.phash(Image.open(io.BytesIO(held[f"{wnid}_{n}.JPEG"])))
            for n in range(DRAWINGS)
        ]
        assert min(double - other for other in good) <= 4
        assert flawed["near_duplicate"] not in [held[f"{wnid}_{n}.JPEG"] for n in range(DRAWINGS)]


def test_same_seed_same_archives(archives, tmp_path):
    wnid = next(iter(NAMES))
    draw_images(tmp_path / "again", [wnid], DRAWINGS, SEED)
    draw_images(tmp_path / "other", [wnid], DRAWINGS, SEED + 1)
    first = (archives / f"{wnid}.tar").read_bytes()
    assert (tmp_path / "again" / f"{wnid}.tar").read_bytes() == first
    assert (tmp_path / "other" / f"{wnid}.tar").read_bytes() != first


def test_classes_can_differ_in_size(tmp_path):
    wnids = list(NAMES)[:3]
    draw_images(tmp_path, wnids, 2, SEED, drawings_step=3)
    sizes = [len(members(tmp_path / f"{wnid}.tar")) for wnid in wnids]
    assert sizes == [n + len(FLAWS) for n in (2, 5, 8)]


def test_drawings_are_no_near_duplicates_of_each_other():
    hashes = [
        imagehash.phash(draw(scene_of(2510, wnid, number)))
        for wnid in NAMES
        for number in range(12)
    ]
    pairs = [(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert sum(a - b <= 4 for a, b in pairs) / len(hashes) < 0.02
