"""Every environment recipe holds the versions of the lock file."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "envs").glob("*.yaml"))


def locked():
    text = "\n".join((ROOT / f"requirements{kind}.txt").read_text() for kind in ("", "-torch"))
    return dict(re.findall(r"^([\w.-]+)==([^\s\\]+)", text, re.M))


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_agrees_with_the_lock(recipe):
    pins = locked()
    *_, pip = yaml.safe_load(recipe.read_text())["dependencies"]
    for line in pip["pip"]:
        name, version = line.split("==")
        assert pins[name] == version, f"{recipe.name}: {name}"


def test_every_rule_names_a_recipe_that_exists():
    text = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'"\.\./envs/(\w+)\.yaml"', text))
    assert named == {path.stem for path in RECIPES}


def test_the_lock_holds_what_the_requirements_name():
    pins = locked()
    for line in (ROOT / "requirements.in").read_text().splitlines():
        name, _, version = line.partition("==")
        if name and not name.startswith("#"):
            locked_name = name.replace(".", "-")
            assert locked_name in pins, f"{name} is not locked: run `make lock`"
            assert version in ("", pins[locked_name])


def test_everything_locked_but_torch_has_a_hash():
    text = (ROOT / "requirements.txt").read_text()
    entries = re.split(r"\n(?=[\w.-]+==)", text)[1:]
    assert entries
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
