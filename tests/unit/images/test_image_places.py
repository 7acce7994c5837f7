"""Where a source has images, and what is said where it has none."""

import pytest

from imagenet_think.images import sources
from imagenet_think.run import configuration

CLASSES = ["n00005787", "n00006484"]
ONE_OF = {
    "class_tars": "n00006484.tar",
    "class_folders": "n00006484/a.jpg",
    "webdataset": "deep/train-0.tar",
    "hub_parquet": "deep/train-0.parquet",
    "folder": "any/thing.jpg",
}


@pytest.fixture
def config(tmp_path):
    table = tmp_path / "classes.tsv"
    rows = [f"{wnid}\t?\t?\t?" for wnid in CLASSES]
    table.write_text("\n".join(["wnid\tlemmas\tdomain\thypernym", *rows]))
    return {"images": {"classes": str(table), "source": {"path": str(tmp_path / "images")}}}


@pytest.mark.parametrize("kind", ONE_OF)
def test_what_is_missing_is_named(config, tmp_path, kind):
    config["images"]["source"]["kind"] = kind
    folder = tmp_path / "images"
    (problem,) = configuration.image_problems(config)
    assert f"{folder}/ does not exist. Put one " in problem
    folder.mkdir()
    if kind != "folder":  # which may hold anything
        (folder / "other.txt").touch()
        (problem,) = configuration.image_problems(config)
        assert f"{folder}/ holds no " in problem
    file = folder / ONE_OF[kind]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert not list(configuration.image_problems(config))
    (place,) = sources.get_sampled(kind).places(folder, CLASSES)
    assert ONE_OF[kind].startswith("" if place == "." else place)


def test_places_by_class_are_in_the_order_of_the_classes(tmp_path):
    for wnid in CLASSES:
        (tmp_path / f"{wnid}.tar").touch()
    backwards = CLASSES[::-1]
    assert sources.get_sampled("class_tars").places(tmp_path, backwards) == [
        f"{w}.tar" for w in backwards
    ]


@pytest.mark.parametrize("path", ["n" * 300, "a/b\0c"])
def test_a_path_that_cannot_exist_is_no_exception(config, path):
    config["images"]["source"] |= {"kind": "class_tars", "path": path}
    (problem,) = configuration.image_problems(config)
    assert "does not exist" in problem


def test_every_layout_says_what_to_put_where():
    found = {kind: sources.get(kind) for kind in sources.kinds()}
    of_the_user = {kind for kind, one in found.items() if one.sampled and one.made_by == "user"}
    assert of_the_user == ONE_OF.keys()
