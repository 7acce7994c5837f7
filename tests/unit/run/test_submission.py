"""Groups that cannot be submitted: the real Slurm plugin, with stand-ins for Slurm's commands."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imagenet_think.run import workflow_hooks

pytestmark = pytest.mark.slow

SCRIPTS = Path(workflow_hooks.__file__).parents[2]
REFUSAL = "sbatch: error: Batch job submission failed: Invalid partition name specified"
COMMANDS = {
    "sbatch": f"echo '{REFUSAL}' >&2; exit 1",
    "sacctmgr": "echo ours",  # the accounts that there are
    **dict.fromkeys(("sinfo", "squeue", "scontrol", "sacct", "scancel"), "true"),
}


@pytest.fixture
def said(tmp_path):
    """A function that runs a group of two jobs, and returns Snakemake's output."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, body in COMMANDS.items():
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    (tmp_path / "Snakefile").write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(SCRIPTS)!r})
            from imagenet_think.run import failures, workflow_hooks
            from snakemake.logging import logger
            watch = failures.Watch(logger.error)
            logger.addHandler(watch)
            workflow_hooks.keep_messages_of_groups()
            workflow_hooks.patch_slurm(sys.modules["snakemake_executor_plugin_slurm"])
            onerror:
                logger.error(failures.report(watch, workflow.dag, []))
            rule all:
                input: "last"
            rule first:
                output: "first"
                group: "both"
                shell: "touch {{output}}"
            rule last:
                input: "first"
                output: "last"
                group: "both"
                shell: "touch {{output}}"
            """
        )
    )

    def run(*resources: str) -> str:
        command = [Path(sys.executable).parent / "snakemake", "--executor", "slurm", "--jobs", "1"]
        command += ["--default-resources", "runtime=1", "mem_mb=100", "disk_mb=1", *resources]
        command += ["--slurm-status-command", "squeue"]
        done = subprocess.run(
            [*command, "--slurm-init-seconds-before-status-checks", "1"],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,  # without the patch it waits forever
        )
        assert done.returncode != 0
        return done.stdout

    return run


def test_a_refused_group_says_why_and_no_account_is_guessed(said):
    text = said("slurm_partition=nowhere")
    assert "SLURM account" not in text
    assert f"a group of 2 jobs: first, last, attempt 1: {REFUSAL}" in text.splitlines()
    assert f"why:  {REFUSAL}\n    next: fix partition, account" in text


def test_a_group_with_an_unknown_account_says_so_and_is_not_waited_for(said):
    text = said("slurm_account=theirs")
    assert "why:  The given account theirs appears to be invalid. Available accounts: ours" in text
    assert "next: fix partition, account" in text
