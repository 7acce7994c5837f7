"""Records which plugins a job calls, and its settings, in a file of the folder `USED`."""

import atexit
import functools
import json
import os
import re
import sys
import types
from importlib.machinery import PathFinder

PLUGIN = re.compile(
    r"imagenet_think\.(?:inference\.(?:engines|families)|parsing\.formats|images\.sources"
    r"|metrics\.definitions)\.\w+"
)
DECLARATION = re.compile(r"\.(?:sources|definitions)\.")
"""Plugins that count as used when they are loaded: their functions are called through an object."""
used = set()


class Finder:
    """Finds plugins as Python does, and wraps their functions so that calls are recorded."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path) if PLUGIN.fullmatch(name) else None
        if spec:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                if DECLARATION.search(name):
                    used.add(name.removeprefix("imagenet_think."))
                for key, value in list(vars(module).items()):
                    if isinstance(value, types.FunctionType) and value.__module__ == name:
                        setattr(module, key, noting(value, name))

            spec.loader.exec_module = exec_module
        return spec


def noting(function, name):
    """Wrap a function so that each call records the name of its plugin."""

    @functools.wraps(function)
    def noted(*arguments, **options):
        used.add(name.removeprefix("imagenet_think."))
        return function(*arguments, **options)

    return noted


def save():
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is not None and hasattr(job, "params"):
        record = {
            "rule": job.rule,
            "script": os.path.basename(sys.argv[0]).split(".")[1],
            "settings": job.params.get("settings"),
            "metric": job.wildcards.get("metric"),
            "used": sorted(used),
        }
        os.makedirs(os.environ["USED"], exist_ok=True)
        with open(os.path.join(os.environ["USED"], f"{os.getpid()}.json"), "w") as file:
            json.dump(record, file)


sys.meta_path.insert(0, Finder)
atexit.register(save)
