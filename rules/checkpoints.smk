# In: the models of the config, resources/checkpoints/, and checkpoints that are on the disk already.
# Out: checkpoints.md and .csv: each model built without its weights, and the memory that it needs.


rule describe_checkpoints:
    input:
        # Checkpoints in the hub's cache are no files of the run.
        "resources/checkpoints/sources.yaml",
        [
            path
            for family in sorted({config["models"][key]["family"] for key in GENERATED})
            for path in repositories.files(f"resources/checkpoints/{family}")
        ],
    output:
        multiext(f"{R}/checkpoints", ".md", ".csv"),
    log:
        log("describe_checkpoints"),
    conda:
        "../envs/inference.yaml"
    params:
        settings=reads(
            "teachers",
            "benchmarked",
            "models.{generated}.repository",
            "models.{generated}.revision",
            "models.{generated}.family",
            "models.{generated}.image",
            "models.{generated}.system",
            "models.{generated}.template",
            "models.{generated}.second_round.first_scale",
        ),
        checkpoints=content("models.{generated}.repository"),
    message:
        "Building every model without its weights"
    script:
        "../scripts/describe_checkpoints.py"


rule checkpoints:
    input:
        rules.describe_checkpoints.output,
        f"{R}/pages/checkpoints.html",
    message:
        "What the models need is in {R}/checkpoints.md"
