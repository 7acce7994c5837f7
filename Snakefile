# ImageNet-Think-250K: images -> responses -> annotations -> metrics and analysis -> tables, figures, paper.
#
#   snakemake --configfile config/miniature.yaml --cores all all    the embedded run (make demo)
#   snakemake --profile slurm all                                   the paper's run on a cluster
import os
import sys
from pathlib import Path

# Snakemake puts only a script's own folder on its path; scripts and jobs inherit this variable.
SCRIPTS = str(Path(workflow.basedir) / "scripts")
sys.path.insert(0, SCRIPTS)
own = filter(None, os.getenv("PYTHONPATH", "").split(os.pathsep))
os.environ.update(PYTHONPATH=os.pathsep.join(dict.fromkeys([SCRIPTS, *own])))

from imagenet_think.core import printing
from imagenet_think.run import config_file

# Snakemake takes braces in its own files' paths for wildcards, and writes all paths as UTF-8.
for place in {os.getcwd(), str(workflow.basedir)}:
    if not printing.is_text(place) or {"{", "}"} & set(place):
        sys.exit(
            f"Error: {printing.escaped(place)}: Snakemake cannot run in a folder whose path contains braces or is not "
            "UTF-8; rename it."
        )

# The project's files are named by paths from its root.
if absent := [name for name in ("paper", "resources", "scripts") if not Path(name).is_dir()]:
    sys.exit(
        f"Error: {printing.escaped(os.getcwd())} has no {' and no '.join(f'{name}/' for name in absent)}, whose files the workflow reads: run "
        f"snakemake in the project's folder ({workflow.basedir}), or link its folders here."
    )

# Snakemake's reader keeps the last of duplicate keys, and names neither file nor line of an error.
if len(workflow.configfiles) > 1:
    sys.exit(
        "Error: --configfile names several files, which Snakemake would merge: name one complete config."
    )
try:
    config_file.read(*workflow.configfiles or ["config/config.yaml"])
except config_file.ConfigError as error:
    sys.exit(f"Error: {error}")

# Exactly one complete config: Snakemake would merge a `configfile:` with the one named on the command line.
if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/functions.smk"
include: "rules/images.smk"
include: "rules/inference.smk"
include: "rules/parsing.smk"
include: "rules/metrics.smk"
include: "rules/analysis.smk"
include: "rules/report.smk"
include: "rules/dataset.smk"
include: "rules/review.smk"
include: "rules/run.smk"
include: "rules/miniature.smk"


# Besides the targets, which run nothing.
localrules:
    audit,
    render_pages,
    render_checkpoints,
    status,
    record_run,


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.comparison.input,
        rules.audit.output,
        rules.sampling.input,
        rules.accounting.input,
        rules.cost.output,
        rules.dataset.input,
        rules.review.output if PICTURES else [],
        rules.pages.input,
        rules.record_run.output,
    message:
        "Everything for {config[run]} is in {R}"


# A failed job says why at once; a failed run says at its end what failed, why, what to do, and what is missing.
from imagenet_think.run import failures
from snakemake.logging import logger

watch = failures.Watch(logger.error)
if workflow.is_main_process:  # not in a job
    logger.addHandler(watch)


onerror:
    logger.error(failures.report(watch, workflow.dag, workflow_hooks.missing(workflow.dag)))


# Slurm may be restarted during a run, and may refuse a job.
workflow_hooks.keep_messages_of_groups()
if plugin := sys.modules.get("snakemake_executor_plugin_slurm"):
    workflow_hooks.patch_slurm(plugin)


# Rules only read keys of the schema.
try:
    known = declarations.all_leaves(configuration.schema())
    for each in workflow.rules:
        declarations.check(each, known)
except declarations.UnknownKeyError as error:
    raise WorkflowError(str(error)) from None


# A product depends on everything behind it, and on the meaning of its code.
workflow_hooks.install()
workflow_hooks.add_param(workflow, "code", code)
if workflow.is_main_process:
    provenance.save()


# Everything that is missing for the planned jobs is reported at once, before the first job.
workflow_hooks.after_planning(workflow, check_plan)
