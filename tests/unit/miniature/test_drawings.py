import io
import tarfile
from dataclasses import fields, replace
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
STAR = "n09444783"
PLAIN = Scene(STAR, "red", "gray", 1, "large", "left", "none", "even", side=224, seed=3)


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


def opened(data):
    return Image.open(io.BytesIO(data))


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


@pytest.mark.parametrize("field", [field.name for field in fields(Scene) if field.name != "side"])
def test_every_property_shows(field):
    other = Scene("n02512053", "blue", "pink", 3, "small", "right", "dots", "dim", 224, seed=4)
    changed = replace(PLAIN, **{field: getattr(other, field)})
    assert np.abs(pixels(PLAIN) - pixels(changed)).mean() > 0.5


def test_the_object_stands_where_and_in_the_colour_that_the_scene_says():
    (x, y), *_ = [(int(224 * x), int(224 * y)) for x, y, _ in places(PLAIN)]
    patch = pixels(PLAIN)[y + 14 : y + 24, x - 8 : x + 8]
    empty = pixels(PLAIN)[:, -20:]
    assert np.abs(patch.mean((0, 1)) - COLOURS["red"]).max() < 45
    assert np.abs(empty.mean((0, 1)) - BACKGROUNDS["gray"]).max() < 45


def test_clutter_lies_under_the_objects():
    changed = np.abs(pixels(PLAIN) - pixels(replace(PLAIN, clutter="squares"))).sum(2) > 60
    x, y, radius = (int(224 * share) for share in places(PLAIN)[0])
    inner = radius // 10
    assert changed.any()
    assert not changed[y - inner : y + inner, x - inner : x + inner].any()


def test_truth_depends_on_seed_class_and_number_alone():
    assert scene_of(1, STAR, 5) == scene_of(1, STAR, 5)
    drawn = {(1, STAR, 5), (2, STAR, 5), (1, STAR, 6), (1, "n13104059", 5)}
    assert len({scene_of(*parts) for parts in drawn}) == 4


def test_scenes_vary_in_everything():
    scenes = [sample_scene(Random(n), STAR) for n in range(300)]
    kinds = {field.name: len({getattr(s, field.name) for s in scenes}) for field in fields(Scene)}
    expected = {"wnid": 1, "colour": 8, "background": 6, "count": 3, "size": 2, "place": 3}
    assert kinds == expected | {"clutter": 4, "light": 3, "side": len(SIDES), "seed": 300}


def test_unknown_class_is_named():
    with pytest.raises(KeyError, match="n00000000"):
        scene_of(1, "n00000000", 0)


def test_archives_hold_the_drawings_that_the_truth_names(archives):
    for wnid in NAMES:
        held = members(archives / f"{wnid}.tar")
        assert list(held) == [f"{wnid}_{n}.JPEG" for n in range(DRAWINGS + len(FLAWS))]
        for number in range(DRAWINGS):
            image = opened(held[f"{wnid}_{number}.JPEG"])
            assert image.format == "JPEG"
            assert min(image.size) >= 224
            drawn = pixels(scene_of(SEED, wnid, number))
            assert np.abs(np.asarray(image).astype(int) - drawn).mean() < 5


def test_flaws_are_planted(archives):
    for wnid in NAMES:
        held = list(members(archives / f"{wnid}.tar").values())
        good, flawed = held[:DRAWINGS], dict(zip(FLAWS, held[DRAWINGS:], strict=True))
        assert max(opened(flawed["too_small"]).size) < 224
        truncated = opened(flawed["truncated"])
        with pytest.raises(OSError, match="truncated"):
            truncated.load()
        with pytest.raises(Image.UnidentifiedImageError):
            opened(flawed["not_an_image"])
        assert np.asarray(opened(flawed["blank"])).std() < 1
        double = imagehash.phash(opened(flawed["near_duplicate"]))
        assert min(double - imagehash.phash(opened(data)) for data in good) <= 4
        assert flawed["near_duplicate"] not in good


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
    hashes = [imagehash.phash(draw(scene_of(2510, w, n))) for w in NAMES for n in range(12)]
    pairs = [(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert sum(a - b <= 4 for a, b in pairs) / len(hashes) < 0.02
