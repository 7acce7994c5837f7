# In: images/shards/, models, or a file of responses that were made elsewhere.
# Out: responses/<model>/<shard>.parquet, by way of the journal; of imported models annotations/ too.


rule generate_responses:
    input:
        images=block_files(f"{R}/images/shards/{{shard}}.parquet"),
        checkpoint=checkpoint_files,
        evaluated=evaluated_file,
    output:
        block_files(f"{R}/responses/{{model}}/{{shard}}.parquet"),
    log:
        log("generate_responses/{model}/{block}"),
    benchmark:
        f"{R}/benchmarks/generate_responses/{{model}}/{{block}}.tsv"
    wildcard_constraints:
        model=one_of(GENERATED),
    conda:
        "../envs/inference.yaml"
    resources:
        gpu=1,
    params:
        # How a text is taken apart decides what is generated only where a thought is closed by force.
        settings=lambda wildcards: as_json(
            model={
                "key": wildcards.model,
                **{
                    key: value
                    for key, value in config["models"][wildcards.model].items()
                    if key != "name"
                    and (key != "output" or "close_thought" in config["models"][wildcards.model])
                },
            },
            prompt={"id": config["prompt"], "text": config["prompts"][config["prompt"]]},
            preparation=IMAGES["preparation"],
            length_policy=config["length_policy"],
            seed=config["seed"],
            installed=repositories.installed(config["models"][wildcards.model]["repository"]),
        ),
        # Functions of `resources` are no reason to run again: batch size and engine do not change the dataset.
        inference=lambda wildcards, resources: as_json(
            **config["inference"], engines=config["engines"]
        ),
        canary=lambda wildcards, resources: as_json(
            folder=f"{R}/canary", output=config["models"][wildcards.model]["output"]
        ),
        journal=f"{R}/journal/{{model}}",
    message:
        "{wildcards.model} describes the images of block {wildcards.block}"
    script:
        "../scripts/generate_responses.py"


rule import_responses:
    input:
        files=lambda wildcards: paths.parquet_files(
            config["models"][wildcards.model]["responses"]["path"]
        ),
        sample=f"{R}/images/sample.parquet",
        evaluated=evaluated_file,
    output:
        responses=expand(f"{R}/responses/{{{{model}}}}/{{shard}}.parquet", shard=SHARDS),
        annotations=expand(f"{R}/annotations/{{{{model}}}}/{{shard}}.parquet", shard=SHARDS),
        unused=f"{R}/imported/{{model}}.csv",
        matched=f"{R}/imported/matched/{{model}}.csv",
    log:
        log("import_responses/{model}"),
    wildcard_constraints:
        model=one_of(IMPORTED),
    conda:
        "../envs/texts.yaml"
    params:
        settings=lambda wildcards: as_json(
            **config["models"][wildcards.model]["responses"],
            output=config["models"][wildcards.model].get("output"),
        ),
    message:
        "Importing the responses of {wildcards.model}"
    script:
        "../scripts/import_responses.py"


rule pin:
    log:
        log("pin"),
    conda:
        "../envs/inference.yaml"
    params:
        config=lambda wildcards: str(workflow.configfiles[-1]),
    message:
        "Asking the hub for the current revision of every model"
    script:
        "../scripts/pin.py"
