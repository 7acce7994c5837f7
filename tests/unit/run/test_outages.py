"""The real Slurm plugin, while Slurm does not answer: no job is forgotten."""

import asyncio
import importlib
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from imagenet_think.run import workflow_hooks


@pytest.fixture
def plugin(monkeypatch):
    """The plugin without the patch that a workflow parsed in this process has applied."""
    monkeypatch.delitem(sys.modules, "snakemake_executor_plugin_slurm", raising=False)
    return importlib.import_module("snakemake_executor_plugin_slurm")


def still_running(plugin) -> list[str]:
    """Return which of two jobs the plugin still tracks after a query without an answer."""
    executor = object.__new__(plugin.Executor)
    settings = {"init_seconds_before_status_checks": 1, "status_attempts": 2}
    executor.workflow = SimpleNamespace(executor_settings=SimpleNamespace(**settings))
    silent = {name: lambda *said: None for name in ("debug", "info", "warning")}
    executor.logger = SimpleNamespace(**silent)
    executor.__dict__["status_rate_limiter"] = nullcontext()
    executor.get_status_command = lambda: "squeue"
    executor._next_seconds_between_status_checks = 1
    executor._status_query_calls = executor._status_query_failures = 0
    executor._status_query_total_seconds = executor._status_query_max_seconds = 0.0
    executor._status_query_min_seconds, executor._status_query_cycle_rows = None, []
    executor.run_uuid = "a-run"
    jobs = [SimpleNamespace(external_jobid=number, aux={}) for number in ("7", "8")]

    async def ask() -> list[str]:
        return [job.external_jobid async for job in executor.check_active_jobs(jobs)]

    return asyncio.run(ask())


def test_jobs_are_not_forgotten_while_slurm_does_not_answer(plugin, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # no squeue there
    monkeypatch.setattr(plugin, "is_query_tool_available", lambda name: False)
    monkeypatch.setattr(plugin, "get_min_job_age", lambda: None)
    assert still_running(plugin) == []  # when this fails, the plugin has fixed it: drop the patch
    workflow_hooks.patch_slurm(plugin)
    assert still_running(plugin) == ["7", "8"]
