# In: config/miniature.yaml, whichever config is loaded, and a seed.
# Out: results/miniatures/<model>/, the trained checkpoints, and results/miniatures/accuracy.csv, what they can do.
# The run uses those of resources/miniatures/: who retrains copies them there, with accuracy.csv, and commits them.
import os

from snakemake.common.configfile import load_configfile

MINIATURE = load_configfile(Path(workflow.basedir) / "config/miniature.yaml")
# The prompt of the run first: it is trained most.
MINIATURE_PROMPTS = sorted(
    MINIATURE["prompts"].items(), key=lambda item: (item[0] != MINIATURE["prompt"], item[0])
)


rule miniatures:
    input:
        "results/miniatures/accuracy.csv",
    message:
        "The seven miniature checkpoints are in results/miniatures"


rule train_miniature:
    output:
        directory("results/miniatures/{model}"),
    log:
        "results/miniatures/logs/train_miniature/{model}.log",
    benchmark:
        "results/miniatures/benchmarks/train_miniature/{model}.tsv"
    wildcard_constraints:
        model="|".join(map(re.escape, MINIATURE["models"])),
    conda:
        "../envs/inference.yaml"
    threads: 1
    params:
        settings=lambda wildcards: as_json(
            model=without(
                MINIATURE["models"][wildcards.model], "name", "repository", "output", "decoding"
            ),
            prompts=[text for _, text in MINIATURE_PROMPTS],
            seed=MINIATURE["seed"],
        ),
        # On a GPU the same seed gives other weights than on a CPU.
        device=os.environ.get("MINIATURES_DEVICE", "cpu"),
    message:
        "Training the miniature of {wildcards.model}"
    script:
        "../scripts/train_miniature.py"


rule measure_miniatures:
    input:
        expand("results/miniatures/{model}", model=MINIATURE["models"]),
    output:
        "results/miniatures/accuracy.csv",
    log:
        "results/miniatures/logs/measure_miniatures.log",
    conda:
        "../envs/inference.yaml"
    params:
        settings=settings(
            models={
                key: without(model, "name", "repository")
                for key, model in MINIATURE["models"].items()
            },
            prompt=MINIATURE_PROMPTS[0][1],
            drawings=240,
            seed=90210,
        ),
    message:
        "Measuring the miniatures on drawings that they never saw"
    script:
        "../scripts/measure_miniatures.py"
