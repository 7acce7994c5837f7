"""Run the scripts of a finished run again and print which declared keys they do not read.

`python settings_read.py <project> <config> <target>...` runs a job of each rule that declares keys
of the config, in the project's folder, and rewrites its files. It prints as JSON, by rule, the
dotted keys that its script did not read.
"""

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace


class Watched(dict):
    """A dict that records which of its keys, and of those of nested dicts, are read."""

    def __init__(self, content):
        super().__init__({key: watched(value) for key, value in content.items()})
        self.all, self.seen = dict(super().items()), set()

    def __getitem__(self, key):
        self.seen.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.seen.add(key)
        return super().__contains__(key)

    def get(self, key, default=None):
        self.seen.add(key)
        return super().get(key, default)

    def pop(self, key, *default):
        self.seen.add(key)
        return super().pop(key, *default)

    def __iter__(self):
        return iter(list(super().keys()))

    def keys(self):
        return list(super().keys())

    def items(self):
        return [(key, self[key]) for key in self.keys()]

    def values(self):
        return [self[key] for key in self.keys()]

    def unread(self) -> Iterator[str]:
        """Yield the dotted keys that were not read."""
        for key, value in self.all.items():
            if key not in self.seen:
                yield key
            else:
                yield from (f"{key}.{inner}" for inner in unread(value))


def watched(value):
    if isinstance(value, dict):
        return Watched(value)
    return [watched(item) for item in value] if isinstance(value, list) else value


def unread(value) -> Iterator[str]:
    if isinstance(value, Watched):
        yield from value.unread()
    elif isinstance(value, list):
        for item in value:
            yield from unread(item)


def run(job, names: list[str], script: Path) -> list[str]:
    """Run a job's script and return the keys in some of its params that it did not read."""
    load = json.loads
    given = {text: watched(load(text)) for text in (job.params[name] for name in names)}

    def loads(text, **options):
        return given[text] if isinstance(text, str) and text in given else load(text, **options)

    about = {name: getattr(job, name) for name in ("input", "output", "params", "wildcards", "log")}
    json.loads = loads
    try:
        runpy.run_path(str(script), {"snakemake": SimpleNamespace(**about, threads=1)}, "__main__")
    finally:
        json.loads = load
    return sorted({key for params in given.values() for key in params.unread()})


if __name__ == "__main__":
    project, config = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    sys.path.insert(0, str(project / "scripts"))
    from imagenet_think.run import workflow_hooks

    with workflow_hooks.planned(project / "Snakefile", project, config, sys.argv[3:]) as workflow:
        jobs = {job.rule.name: job for job in workflow.dag.jobs if not job.is_norun}
        found = {}
        for name, job in jobs.items():
            params = [key for key, value in job.rule.params.items() if hasattr(value, "holds_keys")]
            if params:
                found[name] = run(job, params, (project / "rules" / job.rule.script).resolve())
    print(json.dumps(found))
