# In: config/miniature.yaml, whichever config is loaded, and a seed.
# Out: results/miniatures/<model>/, the trained checkpoints, and results/miniatures/accuracy.csv, their accuracy on
# unseen drawings; and the class archives of a source that is drawn.
# The run uses the checkpoints in resources/miniatures/: after training, copy them there with accuracy.csv and commit them.
import os

from snakemake.common.configfile import load_configfile

MINIATURE = load_configfile(Path(workflow.basedir) / "config/miniature.yaml")


if LAYOUT.sampled and LAYOUT.made_by == "drawing":

    rule draw_images:
        input:
            classes=files("images.classes"),
        output:
            expand("{path}/{wnid}.tar", path=SOURCE["path"], wnid=class_ids()),
        log:
            log("draw_images"),
        conda:
            "../envs/images.yaml"
        params:
            settings=reads(
                "seed",
                "images.source.path",
                "images.source.classes",
                "images.source.drawings_per_class",
                "images.source.drawings_step",
            ),
        message:
            "Drawing images of the classes"
        script:
            "../scripts/miniature/draw_images.py"


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
        settings=reads(
            "seed",
            "prompt",
            "prompts",
            "models.{model}.family",
            "models.{model}.system",
            "models.{model}.template",
            "models.{model}.second_round",
            "models.{model}.prefix",
            "models.{model}.image",
            of=MINIATURE,
        ),
        # On a GPU the same seed gives different weights than on a CPU.
        device=os.environ.get("MINIATURES_DEVICE", "cpu"),
    message:
        "Training the miniature of {wildcards.model}"
    script:
        "../scripts/miniature/train_miniature.py"


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
        settings=reads(
            "prompt",
            "prompts.{prompt}",
            "models.{every}.family",
            "models.{every}.output",
            "models.{every}.system",
            "models.{every}.template",
            "models.{every}.second_round",
            "models.{every}.prefix",
            "models.{every}.image",
            "models.{every}.decoding",
            of=MINIATURE,
            prompt=[MINIATURE["prompt"]],
            every=list(MINIATURE["models"]),
        ),
        drawn=derived(drawings=240, seed=90210),
    message:
        "Measuring the miniatures on unseen drawings"
    script:
        "../scripts/miniature/measure_miniatures.py"
