"""Where scripts are, what they import, how they find the package, and the version."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from imagenet_think.core import provenance
from imagenet_think.report import products

ROOT = Path(__file__).parents[3]
SCRIPTS = [path for path in ROOT.glob("scripts/*/*.py") if path.parent.name != "imagenet_think"]
OF_ANOTHER_STAGE = {
    "report_sampling": "report"  # belongs to `sampling`, which needs no report
}
"""Rules in the file of one stage whose script is in the folder of another."""


def test_no_script_imports_another():
    names = {path.stem for path in SCRIPTS}
    assert len(names) == len(SCRIPTS)  # the tests import scripts by name
    imports = {name for path in SCRIPTS for name in provenance._module(path).imports}
    assert not imports & names


def test_script_folders_are_not_packages():
    assert not [path for path in SCRIPTS if path.name == "__init__.py"]


def test_a_rule_and_its_script_have_the_same_name_and_stage():
    expected, found = {}, {}
    used = {f"{product.stage}/{product.script}" for product in products.PRODUCTS}
    for file in sorted(ROOT.glob("rules/*.smk")):
        for rule in re.split(r"^ *rule ", file.read_text(encoding="utf-8"), flags=re.M)[1:]:
            name = rule.partition(":")[0]
            used.update(scripts := re.findall(r'"\.\./scripts/(\S+)\.py"', rule))
            stage = OF_ANOTHER_STAGE.get(name, file.stem)
            if scripts:
                expected[name], found[name] = [f"{stage}/{name}"], scripts
    assert found == expected
    stages = {path.parent.name for path in SCRIPTS}  # tables and figures have the rules' names
    used |= {f"{stage}/{name}" for stage in stages for name in products.by_script(stage)}
    assert used == {f"{path.parent.name}/{path.stem}" for path in SCRIPTS}


def test_the_version_is_that_of_pyproject():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    released = [heading.split()[0] for heading in headings if heading != "Unreleased"]
    assert released[:1] in ([], [version])


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project in a folder whose path contains spaces."""
    folder = tmp_path / "my own checkout"
    folder.mkdir()
    for name in ("rules", "scripts", "config"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("Snakefile", "requirements.in", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("envs", "paper", "resources"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_scripts_find_the_package_in_a_path_with_spaces_and_a_pythonpath(checkout, tmp_path):
    users = tmp_path / "modules of the user"
    (users / "imagenet_think").mkdir(parents=True)
    (users / "imagenet_think" / "__init__.py").write_text("raise ImportError('not this one')")
    (users / "of_the_user.py").touch()
    script = checkout / "scripts" / "run" / "record_run.py"
    script.write_text(f"import of_the_user\n{script.read_text()}")
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "snakemake", "--configfile", "config/miniature.yaml"),
            *("--cores", "1", "record_run"),
        ],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(users)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    assert (checkout / "results" / "miniature" / "versions.json").is_file()
