# In: agreement/<metric>/<shard>, images/sample.parquet. Out: agreement/aggregate.parquet, tables/agreement,
# tables/agreement_domains, figures/figure_agreement.


rule aggregate_agreement:
    input:
        agreement=expand(
            f"{R}/agreement/{{metric}}/{{shard}}.parquet", metric=METRICS, shard=SHARDS
        ),
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
        "How alike the teachers' texts are, and its intervals"
    script:
        "../scripts/aggregate_agreement.py"


rule table_agreement:
    input:
        aggregate=f"{R}/agreement/aggregate.parquet",
    output:
        overall=table("agreement"),
        domains=table("agreement_domains"),
    log:
        log("table_agreement"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers",
            "models.{teachers}.name",
            "benchmark.intervals",
            "benchmark.printed_tfidf",
            "benchmark.bertscore.repository",
            "benchmark.bertscore.layer",
            "benchmark.bertscore.max_tokens",
            "benchmark.bertscore.windows",
            "benchmark.bertscore.precision",
            "benchmark.sbert.repository",
            "benchmark.sbert.max_tokens",
            "benchmark.sbert.windows",
            "benchmark.sbert.precision",
            "benchmark.rouge",
            "benchmark.sets",
            "benchmark.vectors",
        ),
    message:
        "Tables: agreement of the teachers, overall and by domain"
    script:
        "../scripts/table_agreement.py"


rule figure_agreement:
    input:
        aggregate=f"{R}/agreement/aggregate.parquet",
    output:
        **figure("figure_agreement", "Agreement of the teachers"),
    log:
        log("figure_agreement"),
    conda:
        "../envs/figures.yaml"
    params:
        settings=reads("teachers", "models.{teachers}.name", "benchmark.printed_tfidf"),
    message:
        "Figure: agreement of the teachers"
    script:
        "../scripts/figure_agreement.py"
