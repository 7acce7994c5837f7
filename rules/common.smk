# What the other rule files share: the checked config, the run's folder, shards, models and params.
import json
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from imagenet_think import configuration, repositories, shards

try:
    config = configuration.check(config, ", ".join(map(str, workflow.configfiles)))
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

R = f"results/{config['run']}"
IMAGES = config["images"]
BENCHMARK = config["benchmark"]
TEACHERS = config["teachers"]
MODELS = TEACHERS + config["benchmarked"]
NAMES = {key: config["models"][key]["name"] for key in MODELS}
BLOCKS = shards.blocks(**config["sharding"])
SHARDS = shards.names(**config["sharding"])


wildcard_constraints:
    group=r"\d+",
    block=r"[0-9a-f]",
    shard=r"[0-9a-f]{2}",
    model="|".join(map(re.escape, MODELS)),
    metric=r"[a-z]+",


def settings(**keys):
    """Return what a stage reads as JSON with sorted keys: one param, the same for any order of keys."""
    return json.dumps(keys, sort_keys=True, ensure_ascii=False)


def log(name):
    """Return the log file of a rule; `name` holds its wildcards."""
    return f"{R}/logs/{name}.log"
