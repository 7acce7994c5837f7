# In: annotations/, scores/, agreement/, images/sample.parquet. Out: statistics/, scores/<metric>/*.parquet, agreement/aggregate.


rule measure_texts:
    input:
        annotations=block_files(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
        sample=f"{R}/images/sample.parquet",
        classes=f"{R}/images/classes.parquet",
        hypernyms="resources/hypernyms.tsv",
        pinned=pinned("statistics.tokenizer"),
    output:
        lengths=block_files(f"{R}/statistics/lengths/{{model}}/{{shard}}.parquet"),
        mentions=block_files(f"{R}/statistics/mentions/{{model}}/{{shard}}.parquet"),
    log:
        log("measure_texts/{model}/{block}"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("seed", "statistics.tokenizer"),
        tokenizer=content("statistics.tokenizer.repository"),
    message:
        "Measuring texts of {wildcards.model}, block {wildcards.block}: lengths and label mentions"
    script:
        "../scripts/analysis/measure_texts.py"


rule count_dataset:
    input:
        files=files("statistics.datasets.{dataset}", by=counted_files),
        pinned=pinned("statistics.tokenizer"),
    output:
        f"{R}/statistics/datasets/{{dataset}}.csv",
    log:
        log("count_dataset/{dataset}"),
    wildcard_constraints:
        dataset=one_of(DATASETS),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("statistics.tokenizer"),
        tokenizer=content("statistics.tokenizer.repository"),
    message:
        "Counting samples, images and tokens of {wildcards.dataset}"
    script:
        "../scripts/analysis/count_dataset.py"


SCORED = expand(f"{R}/scores/{{{{metric}}}}/{{shard}}.parquet", shard=SHARDS)


rule aggregate_scores:
    input:
        scores=SCORED,
    output:
        f"{R}/scores/{{metric}}/aggregate.parquet",
    log:
        log("aggregate_scores/{metric}"),
    benchmark:
        f"{R}/benchmarks/aggregate_scores/{{metric}}.tsv"
    conda:
        "../envs/texts.yaml"
    threads: 2
    params:
        settings=reads(
            "seed",
            "benchmarked",
            "benchmark.missing",
            "benchmark.intervals",
            "models.{benchmarked}.output",
            "models.{benchmarked}.responses.think",
        ),
    message:
        "{wildcards.metric}: averages, maxima and their intervals"
    script:
        "../scripts/analysis/aggregate_scores.py"


rule compare_models:
    input:
        scores=SCORED,
    output:
        f"{R}/scores/{{metric}}/differences.parquet",
    log:
        log("compare_models/{metric}"),
    conda:
        "../envs/texts.yaml"
    threads: 2
    params:
        settings=reads("seed", "benchmarked", "benchmark.missing", "benchmark.intervals"),
    message:
        "{wildcards.metric}: differences between the models and their intervals"
    script:
        "../scripts/analysis/compare_models.py"


rule aggregate_groups:
    input:
        scores=SCORED,
        sample=f"{R}/images/sample.parquet",
        lengths=by_shard(
            f"{R}/statistics/lengths/{{model}}/{{shard}}.parquet", config["benchmarked"]
        ),
    output:
        f"{R}/scores/{{metric}}/groups.parquet",
    log:
        log("aggregate_groups/{metric}"),
    benchmark:
        f"{R}/benchmarks/aggregate_groups/{{metric}}.tsv"
    conda:
        "../envs/texts.yaml"
    threads: 2
    params:
        settings=reads(
            "seed",
            "benchmarked",
            "benchmark.missing",
            "benchmark.intervals",
            "models.{benchmarked}.output",
            "models.{benchmarked}.responses.think",
        ),
    message:
        "{wildcards.metric}: averages and maxima by domain, complexity and length"
    script:
        "../scripts/analysis/aggregate_groups.py"


rule aggregate_agreement:
    input:
        **{
            metric: expand(f"{R}/agreement/{metric}/{{shard}}.parquet", shard=SHARDS)
            for metric in METRICS
        },
        sample=f"{R}/images/sample.parquet",
    output:
        f"{R}/agreement/aggregate.parquet",
    log:
        log("aggregate_agreement"),
    benchmark:
        f"{R}/benchmarks/aggregate_agreement.tsv"
    conda:
        "../envs/texts.yaml"
    threads: 4
    params:
        settings=reads("seed", "teachers", "benchmark.intervals"),
    message:
        "Agreement between the two teachers, with intervals"
    script:
        "../scripts/analysis/aggregate_agreement.py"
