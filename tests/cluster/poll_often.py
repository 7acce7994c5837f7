"""`snakemake`, except that it asks Slurm for the states of its jobs every two seconds.

The Slurm plugin waits ten seconds longer after each poll in which no job has ended, which suits
jobs of hours. The jobs of these tests take seconds.
"""

import asyncio

from snakemake import cli
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep(executor: RemoteExecutor) -> None:
    """Wait between two polls."""
    await asyncio.sleep(2)


RemoteExecutor.sleep = sleep
cli.main()
