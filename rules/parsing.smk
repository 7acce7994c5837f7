# In: responses/. Out: annotations/<model>/<shard>.parquet.


rule parse_responses:
    input:
        block_files(f"{R}/responses/{{model}}/{{shard}}.parquet"),
    output:
        block_files(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
    log:
        log("parse_responses/{model}/{block}"),
    wildcard_constraints:
        model=one_of(GENERATED),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("models.{model}.output"),
    message:
        "Parsing the responses of {wildcards.model}, block {wildcards.block}"
    script:
        "../scripts/parsing/parse_responses.py"
