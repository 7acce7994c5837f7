"""A run waits out an outage of Slurm's controller."""

from collections.abc import Awaitable, Callable
from types import ModuleType

States = tuple[dict[str, str] | None, float | None]
"""The state of each job and the seconds that asking took; None, None where nobody answered."""


def wait_out(plugin: ModuleType) -> None:
    """Have Snakemake's Slurm plugin ask again later where Slurm does not answer.

    A job of which an answer says nothing counts as one that still runs. But the plugin (2.8.0; its
    issue 207) forgets all jobs when there is no answer, as while the controller is restarted: it
    never asks for them again, and the run waits for ever. So no answer becomes an empty one.

    Parameters
    ----------
    plugin
        The module `snakemake_executor_plugin_slurm`.
    """
    plugin.query_job_status = _answered(plugin.query_job_status)


def _answered(ask: Callable[..., Awaitable[States]]) -> Callable[..., Awaitable[States]]:
    async def answer(*arguments: object) -> States:
        states, seconds = await ask(*arguments)
        return ({}, 0.0) if states is None else (states, seconds)

    return answer
