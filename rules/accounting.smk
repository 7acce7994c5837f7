# In: images/sample.parquet, responses/, annotations/, the journal. Out: accounting, cost, pilot.
# Cost and pilot tell of time: no two runs give the same bytes.


rule account_responses:
    input:
        sample=f"{R}/images/sample.parquet",
        evaluated=f"{R}/images/evaluated.parquet",
        responses=expand(f"{R}/responses/{{model}}/{{shard}}.parquet", model=MODELS, shard=SHARDS),
        annotations=expand(
            f"{R}/annotations/{{model}}/{{shard}}.parquet", model=MODELS, shard=SHARDS
        ),
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
    message:
        "Accounting for every image and model"
    script:
        "../scripts/account_responses.py"


rule accounting:
    input:
        rules.account_responses.output,
    message:
        "The account is {R}/accounting.md"


rule cost:
    input:
        responses=expand(
            f"{R}/responses/{{model}}/{{shard}}.parquet", model=GENERATED, shard=SHARDS
        ),
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
        "../scripts/cost.py"


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
            "seed",
            "teachers",
            "benchmarked",
            "models.{generated}.name",
            "models.{generated}.output",
            "pilot.gpus",
            "benchmark.intervals",
        ),
        journals=f"{R}/journal",
    message:
        "Estimating the whole run from the pilot"
    script:
        "../scripts/pilot.py"
