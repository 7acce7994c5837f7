# In: images/shards/, models, or files of responses that were generated elsewhere.
# Out: responses/<model>/<shard>.parquet, by way of the journal; annotations/ too for imported models; checkpoints.md.
FIRST_BLOCK = shards.blocks(**config["sharding"])[0]


rule generate_responses:
    input:
        images=block_files(f"{R}/images/shards/{{shard}}.parquet"),
        pinned=pinned("models.{model}", "models.{model}.processor"),
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
        # Of all engines: vLLM's server runs in an environment of its own, which engines.vllm.command names.
        "../envs/inference.yaml"
    resources:
        gpu=gpus,
    params:
        settings=reads(
            "seed",
            "prompt",
            "prompts.{prompt}",
            "images.preparation",
            "length_policy",
            "models.{model}.repository",
            "models.{model}.revision",
            "models.{model}.processor",
            "models.{model}.family",
            "models.{model}.system",
            "models.{model}.template",
            "models.{model}.second_round",
            "models.{model}.prefix",
            "models.{model}.close_thought",
            "models.{model}.image",
            "models.{model}.decoding",
            # The format affects generation only if thinking may be closed by force.
            "models.{closing}.output",
            closing=closes_thoughts,
        ),
        checkpoint=content("models.{model}.repository", "models.{model}.processor.repository"),
        # Batch size, engine and canary do not change the dataset.
        inference=uses("inference", "engines", "models.{model}.engine", "models.{model}.output"),
        canary=f"{R}/canary",
        journal=f"{R}/journal/{{model}}",
    message:
        "Generating the responses of {wildcards.model}, block {wildcards.block}"
    script:
        "../scripts/inference/generate_responses.py"


# It shares the run's journal: what the pilot generates, the run does not generate again.
rule generate_pilot:
    input:
        images=expand(block_files(f"{R}/images/shards/{{shard}}.parquet"), block=FIRST_BLOCK),
        pinned=pinned("models.{model}", "models.{model}.processor"),
        # All models are measured on the same images, so teachers also get only the evaluated ones.
        evaluated=f"{R}/images/evaluated.parquet",
    output:
        f"{R}/pilot/{{model}}.parquet",
    log:
        log("generate_pilot/{model}"),
    wildcard_constraints:
        model=one_of(GENERATED),
    conda:
        "../envs/inference.yaml"
    resources:
        gpu=gpus,
    params:
        settings=rules.generate_responses.params.settings,
        inference=rules.generate_responses.params.inference,
        checkpoint=rules.generate_responses.params.checkpoint,
        canary=rules.generate_responses.params.canary,
        journal=rules.generate_responses.params.journal,
        pilot=reads("pilot.images"),
    message:
        "Generating the pilot's responses of {wildcards.model}"
    script:
        "../scripts/inference/generate_pilot.py"


rule import_responses:
    input:
        files=files("models.{model}.responses.path", by=imported_files),
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
        settings=reads("models.{model}.responses", "models.{model}.output"),
    message:
        "Importing the responses of {wildcards.model}"
    script:
        "../scripts/inference/import_responses.py"


rule pin:
    log:
        log("pin"),
    conda:
        "../envs/inference.yaml"
    params:
        config=lambda wildcards: str(workflow.configfiles[-1]),
    message:
        "Looking up the current hub revision of every model"
    script:
        "../scripts/inference/pin.py"


rule describe_checkpoints:
    input:
        # Checkpoints in the hub's cache are not files of the run.
        "resources/checkpoints/sources.yaml",
        [
            str(path)
            for family in sorted({config["models"][key]["family"] for key in GENERATED})
            for path in sorted(Path("resources/checkpoints", family).glob("[!.]*"))
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
            "models.{generated}.second_round.scaling",
            "models.{generated}.decoding",
        ),
        checkpoints=content("models.{generated}.repository"),
    message:
        "Building every model without its weights"
    script:
        "../scripts/inference/describe_checkpoints.py"


rule checkpoints:
    input:
        rules.describe_checkpoints.output,
        f"{R}/pages/checkpoints.html",
    message:
        "The requirements of the models are in {R}/checkpoints.md"
