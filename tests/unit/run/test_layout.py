"""Where scripts are, what they import, and the version."""

import re
import tomllib
from pathlib import Path

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
