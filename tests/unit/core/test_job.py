import ast
from pathlib import Path

import pytest

from imagenet_think.core import job

SCRIPTS = Path(job.__file__).parents[2]
RUN_BY_SNAKEMAKE = sorted(
    path
    for path in SCRIPTS.glob("*/*.py")
    if path.parent.name != "imagenet_think" and '__name__ == "__main__"' in path.read_text()
)


@pytest.mark.parametrize("path", RUN_BY_SNAKEMAKE, ids=lambda path: path.stem)
def test_each_script_logs_and_ends_in_order_at_sigterm(path):
    """`status` only reads, while a run is going on, and has no log."""
    main = ast.parse(path.read_text()).body[-1]
    assert isinstance(main, ast.If)
    first = ast.unparse(main.body[0])
    assert first == f"snakemake = {'this_job' if path.stem == 'status' else 'start_job'}()"
