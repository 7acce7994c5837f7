# In: responses/. Out: annotations/<model>/<shard>.parquet.


rule parse_responses:
    input:
        f"{R}/responses/{{model}}/{{shard}}.parquet",
    output:
        f"{R}/annotations/{{model}}/{{shard}}.parquet",
    log:
        log("parse_responses/{model}/{shard}"),
    wildcard_constraints:
        model=one_of(GENERATED),
    conda:
        "../envs/texts.yaml"
    params:
        settings=lambda wildcards: as_json(output=config["models"][wildcards.model]["output"]),
    message:
        "Taking the responses of {wildcards.model} apart, shard {wildcards.shard}"
    script:
        "../scripts/parse_responses.py"
