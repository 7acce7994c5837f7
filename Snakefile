# ImageNet-Think-250K: images -> responses -> annotations -> statistics and scores -> tables, figures, paper.
#
#   snakemake --configfile config/miniature.yaml --cores all all    the embedded run (make demo)
#   snakemake --profile slurm all                                   the paper's run on a cluster
from snakemake.utils import min_version

min_version("9.27")

# Exactly one complete config: Snakemake would merge a `configfile:` with the one named on the command line.
if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/images.smk"
include: "rules/checkpoints.smk"
include: "rules/inference.smk"
include: "rules/parsing.smk"
include: "rules/accounting.smk"
include: "rules/statistics.smk"
include: "rules/benchmark.smk"
include: "rules/agreement.smk"
include: "rules/paper.smk"
include: "rules/miniatures.smk"


localrules:
    all,
    tables,
    figures,
    comparison,
    paper,
    sampling,
    accounting,
    checkpoints,
    miniatures,


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.comparison.input,
        rules.sampling.input,
        rules.accounting.input,
        rules.cost.output,
    message:
        "Everything for {config[run]} is in {R}"


# An edited module makes the jobs run again that use it.
for each in workflow.rules:
    if each.script:
        each.set_params(code=code(each))
