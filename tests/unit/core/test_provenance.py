import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.core import provenance

SCRIPTS = Path(__file__).parents[3] / "scripts"

# In a process of its own, because parsed files are cached for its lifetime.
SNAPSHOT = "from imagenet_think.core import provenance; print(provenance.snapshot({}))"


def names(path):
    return [file.relative_to(SCRIPTS).as_posix() for file in provenance.code(path)]


def test_the_imports_of_imports_count():
    found = names(SCRIPTS / "imagenet_think" / "metrics" / "rouge.py")
    assert {f"imagenet_think/metrics/{name}.py" for name in ("rouge", "tokenization")} <= {*found}
    assert "imagenet_think/metrics/bertscore.py" not in found
    assert found == sorted(set(found))


def test_an_import_inside_a_function_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "FOLDER", tmp_path)
    (tmp_path / "package").mkdir()
    for name in ("__init__", "late", "other"):
        (tmp_path / "package" / f"{name}.py").touch()
    script = tmp_path / "script.py"
    script.write_text("def f():\n    from package import late\n    return late\n")
    found = {file.name for file in provenance.code(script)}
    assert found == {"script.py", "late.py", "__init__.py"}


def test_only_the_chosen_plugins_count():
    script = SCRIPTS / "inference" / "generate_responses.py"
    chosen = provenance.plugins({"model": {"family": "glm4v"}})
    assert chosen == {"inference.families.glm4v"}
    folder = SCRIPTS / "imagenet_think" / "inference" / "families"
    without, found = (
        {file.stem for file in provenance.code(script, plugins) if file.parent == folder}
        for plugins in ((), chosen)
    )
    assert without == {"__init__"}
    assert found == {"__init__", "glm4v"}


@pytest.mark.parametrize(
    "text",
    [
        "from imagenet_think.inference import families",
        'PACKAGE = "inference.families"',
        'def f(name):\n    return plugins.get("inference.families", name)',
    ],
)
def test_a_module_that_names_a_package_of_plugins_uses_the_chosen_ones(text, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(text)
    needs = provenance._needs(script)
    assert {file.parent.name for file in needs if file.stem == "__init__"} >= {"families"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"images": {"source": {"kind": "folder"}}}, ["images.sources.folder"]),
        (
            {"models": [{"family": "internvl"}, {"family": "glm4v"}]},
            ["inference.families.internvl", "inference.families.glm4v"],
        ),
        ({"kind": ["folder", "listing"]}, ["images.sources.folder", "images.sources.listing"]),
        ({"family": "unknown", "kind": None, "output": {"family": 1}}, []),
        ({"output": {"family": "kimi_vl"}}, ["inference.families.kimi_vl"]),
        ("glm4v", []),
    ],
)
def test_settings_name_plugins(settings, named):
    assert provenance.plugins(settings) == set(named)


ORIGINAL = '''
"""A module."""
import os
LIMIT = 1 + 2
def f(x, *, y=3):
    """What it does."""
    return {"a": x}
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("import os", "import os  # a comment\n", True),
        ("1 + 2", "(1 +\n  2)\n'''What a constant means.'''\n\n", True),
        ('"""What it does."""', "'Another docstring.'\n    # Why.", True),
        ('{"a": x}', "{\n        'a': x,\n    }", True),
        *(("1 + 2", "1 + 3", False), ("x, *", "x, z, *", False), ("y=3", "y=4", False)),
        *(('"a"', '"b"', False), ("import os", "", False)),
    ],
)
def test_only_an_edit_of_code_changes_its_meaning(old, new, same):
    assert old in ORIGINAL
    edited = provenance.meaning(ORIGINAL.replace(old, new))
    assert (edited == provenance.meaning(ORIGINAL)) == same


@given(st.sampled_from(sorted(SCRIPTS.rglob("*.py"))))
@settings(max_examples=20, deadline=None)
def test_a_reformatted_module_has_the_same_meaning(file):
    """`ast.unparse` drops comments and chooses its own quotes, brackets and line breaks."""
    text = file.read_text()
    assert provenance.meaning(ast.unparse(ast.parse(text))) == provenance.meaning(text)


def test_a_template_counts_with_its_module():
    found = names(SCRIPTS / "inference" / "generate_responses.py")
    assert "imagenet_think/inference/canary_page.html" in found
    assert "report/report_sampling.html" in names(SCRIPTS / "report" / "report_sampling.py")


def test_what_editors_leave_behind_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "FOLDER", tmp_path)
    for name in ("page.py", "page.html", "page.html~", "page.py~"):
        (tmp_path / name).touch()
    (tmp_path / ".#page.py").symlink_to("somebody@somewhere")
    found = provenance.code(tmp_path / "page.py")
    assert [file.name for file in found] == ["page.html", "page.py"]


def test_a_snapshot_changes_with_the_meaning_of_config_and_code(tmp_path):
    for name in ("scripts", "rules"):
        shutil.copytree(SCRIPTS.parent / name, tmp_path / name)
    shutil.copy(SCRIPTS.parent / "Snakefile", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "scripts")}

    def snapshot(config="{'a': 1, 'b': [2]}"):
        command = [sys.executable, "-c", SNAPSHOT.format(config)]
        return subprocess.check_output(command, env=environment, text=True)

    before = snapshot()
    (tmp_path / "scripts" / ".#unused.py").symlink_to("somebody@somewhere")  # as Emacs does
    (tmp_path / "rules" / ".#parsing.smk").symlink_to("somebody@somewhere")
    assert snapshot("{'b': [2], 'a': 1}") == before
    assert snapshot("{'a': 2, 'b': [2]}") != before
    rules = tmp_path / "rules" / "parsing.smk"
    rules.write_text("# A comment.\n\n" + rules.read_text())
    assert snapshot() == before
    rules.write_text(rules.read_text() + "\nEDITED = True\n")
    edited = snapshot()
    (tmp_path / "scripts" / "unused.py").write_text("EDITED = True\n")
    assert len({before, edited, snapshot()}) == 3
