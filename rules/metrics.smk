# In: annotations/. Out: scores/<metric>/<shard>, agreement/<metric>/<shard>.
rule fit_document_frequencies:
    input:
        by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
    output:
        f"{R}/statistics/document_frequencies.parquet",
    log:
        log("fit_document_frequencies"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("benchmark.vectors"),
    message:
        "Counting the references in which each word occurs"
    script:
        "../scripts/metrics/fit_document_frequencies.py"


rule score:
    input:
        unpack(lambda wildcards: statistics_of(wildcards.metric)),
        annotations=annotations_of_block(),
        sample=f"{R}/images/sample.parquet",
        evaluated=f"{R}/images/evaluated.parquet",
        pinned=pinned("benchmark.{metric}"),
    output:
        scores=block_files(f"{R}/scores/{{metric}}/{{shard}}.parquet"),
        agreement=block_files(f"{R}/agreement/{{metric}}/{{shard}}.parquet"),
    log:
        log("score/{metric}/{block}"),
    benchmark:
        f"{R}/benchmarks/score/{{metric}}/{{block}}.tsv"
    wildcard_constraints:
        metric=one_of(metric.name for metric in registry.metrics() if not metric.encoder),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("seed", "teachers", "benchmarked", "benchmark.{metric}.{setting}"),
        checkpoint=content("benchmark.{metric}.repository"),
        metric_code=derived(metric_code=metric_code),
        cache=f"{R}/score_cache/{{metric}}",
        inference=uses("benchmark.{metric}.{tuning}"),
    message:
        "Scores: {wildcards.metric}, block {wildcards.block}"
    script:
        "../scripts/metrics/score.py"


# Only for the metrics that do not compute in float32.
rule measure_precision:
    input:
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet", MODELS),
        sample=f"{R}/images/sample.parquet",
        evaluated=f"{R}/images/evaluated.parquet",
        pinned=pinned("benchmark.{metric}"),
    output:
        f"{R}/statistics/precision/{{metric}}.parquet",
    log:
        log("measure_precision/{metric}"),
    wildcard_constraints:
        metric=one_of(INEXACT),
    conda:
        "../envs/embeddings.yaml"
    resources:
        gpu=1,
    params:
        settings=reads("seed", "teachers", "benchmarked", "benchmark.{metric}.{setting}"),
        checkpoint=content("benchmark.{metric}.repository"),
        inference=uses("benchmark.{metric}.{tuning}"),
        shards=SHARDS,
    message:
        "Error of {wildcards.metric} in the precision that it computes in"
    script:
        "../scripts/metrics/measure_precision.py"


use rule score as score_embeddings with:
    wildcard_constraints:
        metric=one_of(metric.name for metric in registry.metrics() if metric.encoder),
    conda:
        "../envs/embeddings.yaml"
    resources:
        gpu=1,
