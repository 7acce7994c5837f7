"""What the rules import: each job reads them when it starts, so nothing that is slow to import."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PLUGINS = "[sources.get(kind) for kind in sources.kinds()]"
"""The rules load the one that the config names."""

HEAVY = {"numpy", "polars", "pyarrow", "torch", "transformers"}


def test_the_rules_import_nothing_heavy():
    text = "".join(path.read_text() for path in [ROOT / "Snakefile", *ROOT.glob("rules/*.smk")])
    imports = re.findall(r"^from imagenet_think\S* import .+$", text, re.M)
    assert imports
    # Snakemake loads some of them itself, in any workflow.
    lines = ["import sys, snakemake.api", "own = set(sys.modules)", *imports]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, PLUGINS, "print(*(set(sys.modules) - own))"])],
        cwd=ROOT / "scripts",
        text=True,
        capture_output=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "imagenet_think.core.provenance" in loaded
    assert HEAVY.isdisjoint(loaded)
