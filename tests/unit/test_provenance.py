import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagenet_think import provenance

SCRIPTS = Path(__file__).parents[2] / "scripts"

# Digests are kept for the time of a process, so that a plan reads each file once.
DIGEST = "import sys; from imagenet_think import provenance as p; print(p.digest(sys.argv[1]))"
SNAPSHOT = "from imagenet_think import provenance as p; print(p.snapshot({'a': 1, 'b': [2]}))"


def names(path):
    return [file.relative_to(SCRIPTS).as_posix() for file in provenance.code(path)]


@pytest.fixture
def copy(tmp_path):
    """A function that runs Python in a copy of the project's code."""
    for name in ("scripts", "rules"):
        shutil.copytree(SCRIPTS.parent / name, tmp_path / name)
    shutil.copy(SCRIPTS.parent / "Snakefile", tmp_path)

    def python(code, *arguments):
        scripts = tmp_path / "scripts"
        command = [sys.executable, "-c", code, *(str(scripts / name) for name in arguments)]
        environment = os.environ | {"PYTHONPATH": str(scripts)}
        return subprocess.run(
            command, env=environment, text=True, capture_output=True, check=True
        ).stdout

    python.root = tmp_path
    return python


def test_a_script_stands_on_what_its_imports_import():
    found = names(SCRIPTS / "score_rouge.py")
    # rouge imports tokenization; the script does not.
    for name in ("score_rouge", "imagenet_think/rouge", "imagenet_think/tokenization"):
        assert f"{name}.py" in found
    assert "imagenet_think/bertscore.py" not in found
    assert found == sorted(set(found))


def test_an_import_inside_a_function_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "FOLDER", tmp_path)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "late.py").touch()
    (package / "other.py").touch()
    script = tmp_path / "script.py"
    script.write_text(
        "def f():\n    from package import (\n        late,\n    )\n    return late\n"
    )
    found = {file.name for file in provenance.code(script)}
    assert found == {"script.py", "late.py", "__init__.py"}


def test_packages_that_load_by_name_count_whole():
    found = names(SCRIPTS / "generate_responses.py")
    for package in ("engines", "families"):
        files = (SCRIPTS / "imagenet_think" / package).glob("*.py")
        assert {f"imagenet_think/{package}/{file.name}" for file in files} <= set(found)


def test_a_template_counts_with_its_module():
    assert "imagenet_think/canary.html" in names(SCRIPTS / "generate_responses.py")
    assert "report_sampling.html" in names(SCRIPTS / "report_sampling.py")


def test_an_edit_is_seen_by_those_alone_that_use_it(copy):
    script = ("score_rouge.py", "score_bertscore.py")
    before = [copy(DIGEST, name) for name in script]
    module = copy.root / "scripts" / "imagenet_think" / "tokenization.py"
    module.touch()
    assert [copy(DIGEST, name) for name in script] == before
    time = module.stat().st_mtime
    module.write_text(module.read_text() + "\n# edited\n")
    os.utime(module, (time, time))
    after = [copy(DIGEST, name) for name in script]
    assert (after[0] != before[0], after[1] != before[1]) == (True, False)


def test_a_snapshot_sees_config_and_code_whatever_the_order_of_keys(copy):
    before = copy(SNAPSHOT)
    assert copy(SNAPSHOT.replace("'a': 1, 'b': [2]", "'b': [2], 'a': 1")) == before
    assert copy(SNAPSHOT.replace("'a': 1", "'a': 2")) != before
    rules = copy.root / "rules" / "parsing.smk"
    rules.write_text(rules.read_text() + "\n")
    assert copy(SNAPSHOT) != before
