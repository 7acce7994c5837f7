# In: images/sample.parquet, images/classes.parquet, annotations/. Out: statistics/, tables 1 and 2, tables/language,
# tables/mentions.


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
        "Measuring the texts of {wildcards.model}, block {wildcards.block}: lengths and label mentions"
    script:
        "../scripts/measure_texts.py"


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
        "../scripts/count_dataset.py"


rule table_datasets:
    input:
        sample=f"{R}/images/sample.parquet",
        lengths=of_teachers(f"{R}/statistics/lengths/{{model}}/{{shard}}.parquet"),
        counts=expand(f"{R}/statistics/datasets/{{dataset}}.csv", dataset=DATASETS),
        reported="resources/reported.yaml",
    output:
        table("table1"),
    log:
        log("table_datasets"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("run", "teachers", "statistics.tokenizer.repository"),
    message:
        "Table 1: this dataset beside four others"
    script:
        "../scripts/table_datasets.py"


rule table_images:
    input:
        sample=f"{R}/images/sample.parquet",
    output:
        table("table2"),
    log:
        log("table_images"),
    conda:
        "../envs/texts.yaml"
    message:
        "Table 2: images and classes"
    script:
        "../scripts/table_images.py"


rule table_language:
    input:
        sample=f"{R}/images/sample.parquet",
        annotations=of_teachers(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
        lengths=of_teachers(f"{R}/statistics/lengths/{{model}}/{{shard}}.parquet"),
    output:
        table("language"),
    log:
        log("table_language"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "seed", "teachers", "models.{teachers}.name", "statistics.tokenizer.repository"
        ),
    message:
        "Lengths, vocabulary and script of the teachers' texts (sections 4.2 and 4.3)"
    script:
        "../scripts/table_language.py"


rule table_mentions:
    input:
        mentions=expand(
            f"{R}/statistics/mentions/{{model}}/{{shard}}.parquet", model=MODELS, shard=SHARDS
        ),
        sample=f"{R}/images/sample.parquet",
    output:
        table("mentions"),
    log:
        log("table_mentions"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers", "benchmarked", "models.{models}.name", "benchmark.intervals.level"
        ),
    message:
        "Table: how often answers name what the image shows"
    script:
        "../scripts/table_mentions.py"
