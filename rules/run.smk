# In: images/sample.parquet, responses/, annotations/, the journal; the plan of `all`.
# Out: accounting, cost, pilot, config.yaml, versions.json, on which nothing depends; a table on the terminal.
# Cost and pilot report times, so they differ from run to run.


rule account_responses:
    input:
        sample=f"{R}/images/sample.parquet",
        evaluated=f"{R}/images/evaluated.parquet",
        responses=by_shard(f"{R}/responses/{{model}}/{{shard}}.parquet", MODELS),
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet", MODELS),
        matched=expand(f"{R}/imported/matched/{{model}}.csv", model=IMPORTED),
    output:
        multiext(f"{R}/accounting", ".csv", ".md"),
    log:
        log("account_responses"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "run",
            "teachers",
            "benchmarked",
            "models.{models}.name",
            "models.{imported}.responses.path",
        ),
        statuses=derived(statuses=STATUSES),
    message:
        "Accounting for every image and model"
    script:
        "../scripts/run/account_responses.py"


rule accounting:
    input:
        rules.account_responses.output,
    message:
        "The account is {R}/accounting.md"


rule cost:
    input:
        responses=by_shard(f"{R}/responses/{{model}}/{{shard}}.parquet", GENERATED),
        reported="resources/reported.yaml",
    output:
        multiext(f"{R}/cost", ".csv", ".md"),
    log:
        log("cost"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("run", "teachers", "benchmarked", "models.{generated}.name"),
        journals=f"{R}/journal",
    message:
        "What the responses cost"
    script:
        "../scripts/run/cost.py"


rule pilot:
    input:
        responses=pilots,
        sample=f"{R}/images/sample.parquet",
        evaluated=f"{R}/images/evaluated.parquet",
        reported="resources/reported.yaml",
    output:
        multiext(f"{R}/pilot", ".csv", ".md"),
    log:
        log("pilot"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "run",
            "teachers",
            "benchmarked",
            "models.{generated}.name",
            "models.{generated}.output",
            "pilot.gpus",
            "benchmark.intervals",
        ),
        statuses=derived(statuses=STATUSES),
        journals=f"{R}/journal",
    message:
        "Estimating the whole run from the pilot"
    script:
        "../scripts/run/pilot.py"


rule record_run:
    output:
        config=f"{R}/config.yaml",
        versions=f"{R}/versions.json",
    log:
        log("record_run"),
    conda:
        "../envs/texts.yaml"
    params:
        config=derived(**config),
        # Looks the commit up again when the code has changed.
        run_code=derived(code=run_code),
    message:
        "Recording config, packages and commit"
    script:
        "../scripts/run/record_run.py"


rule status:
    input:
        lambda wildcards: workflow_hooks.only_read(workflow, "status"),
    log:
        ".snakemake/status.log",  # stays empty: all goes to the terminal
    conda:
        "../envs/workflow.yaml"
    params:
        run=config["run"],
        results=R,
        models=MODELS,
        # For the script, which plans in its own process: Snakemake cannot plan while it plans.
        plan=dict(
            snakefile=workflow.main_snakefile,
            folder=Path.cwd(),
            configfile=Path(workflow.configfiles[-1]),
            targets=["all"],
            **workflow_hooks.command_line(workflow),
        ),
        logs=".snakemake/log",
    message:
        "How far the run {config[run]} has come"
    script:
        "../scripts/run/status.py"
