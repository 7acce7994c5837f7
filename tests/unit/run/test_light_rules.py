"""The rules import nothing that is slow to import, because every job reads them at its start."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PLUGINS = "[sources.get(kind) for kind in sources.kinds()]"
"""The rules load the source that the config names."""

HEAVY = {"numpy", "polars", "pyarrow", "torch", "transformers"}


def printed(code):
    """Return the words that Python code prints, which finds the package."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "scripts", text=True, capture_output=True, check=True)
    return done.stdout.split()


def test_the_rules_import_nothing_heavy():
    text = "".join(path.read_text() for path in [ROOT / "Snakefile", *ROOT.glob("rules/*.smk")])
    imports = re.findall(r"^from imagenet_think\S* import (?:\([^)]*\)|.+)$", text, re.M)
    assert imports
    # Snakemake loads some of them itself, in any workflow.
    lines = ["import sys, snakemake.api", "own = set(sys.modules)", *imports]
    loaded = printed("\n".join([*lines, PLUGINS, "print(*(set(sys.modules) - own))"]))
    assert "imagenet_think.core.provenance" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_only_the_source_that_the_config_names_is_loaded():
    loaded = printed(
        "import sys, yaml\n"
        "from imagenet_think.run import configuration\n"
        "config = yaml.safe_load(open('../config/miniature.yaml'))\n"
        "config['images']['source'] = {'kind': 'webdataset', 'path': 'nowhere'}\n"
        "sources = configuration.sources\n"
        "list(configuration._source_contradictions(config))\n"
        "list(sources.get('webdataset').problems(config['images']['source'], []))\n"
        "print(*(name for name in sys.modules if name.startswith(sources.__name__ + '.')))\n"
    )
    assert loaded == ["imagenet_think.images.sources.webdataset"]
