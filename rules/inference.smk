# In: images/shards/, models. Out: responses/<model>/<shard>.parquet, by way of the journal.


def block_files(pattern):
    """Return `pattern` once for each shard of a block, the block left as a wildcard."""
    digits = sorted({shard[1] for shard in SHARDS})
    return [pattern.replace("{shard}", f"{{block}}{digit}") for digit in digits]


def checkpoint_files(wildcards):
    """Return the files of a local checkpoint; refuse a real run of a hub model without revision."""
    if not workflow.dryrun:
        missing = configuration.unpinned(config)
        if missing:
            raise WorkflowError(
                f"No revision for {', '.join(missing)}: run `snakemake pin` once on a machine that "
                "reaches the hub; it asks for the current commits and writes them into the config."
            )
    return repositories.files(config["models"][wildcards.model]["repository"])


rule generate_responses:
    input:
        images=block_files(f"{R}/images/shards/{{shard}}.parquet"),
        checkpoint=checkpoint_files,
    output:
        block_files(f"{R}/responses/{{model}}/{{shard}}.parquet"),
    log:
        log("generate_responses/{model}/{block}"),
    benchmark:
        f"{R}/benchmarks/generate_responses/{{model}}/{{block}}.tsv"
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 48000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
    params:
        settings=lambda wildcards: settings(
            model=wildcards.model,
            entry={
                key: value
                for key, value in config["models"][wildcards.model].items()
                if key not in ("name", "output")
            },
            prompt={"id": config["prompt"], "text": config["prompts"][config["prompt"]]},
            preparation=IMAGES["preparation"],
            seed=config["seed"],
        ),
        inference=settings(**config["inference"]),
        journal=f"{R}/journal/{{model}}",
    message:
        "{wildcards.model} describes the images of block {wildcards.block}"
    script:
        "../scripts/generate_responses.py"


rule pin_revisions:
    log:
        log("pin_revisions"),
    params:
        configfile=lambda wildcards: str(workflow.configfiles[-1]),
    message:
        "Asking the hub for the current revision of every model"
    script:
        "../scripts/pin_revisions.py"
