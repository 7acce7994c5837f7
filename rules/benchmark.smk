# In: annotations/. Out: scores/, tables 3 to 7, comparison.
METRICS = ["bertscore", "sbert", "rouge", "sets", "vectors"]
PAIRS = {"models": config["benchmarked"], "teachers": TEACHERS}


rule fit_document_frequencies:
    input:
        of_teachers(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
    output:
        f"{R}/statistics/document_frequencies.parquet",
    log:
        log("fit_document_frequencies"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(**BENCHMARK["vectors"]),
    message:
        "Counting in how many references each word stands"
    script:
        "../scripts/fit_document_frequencies.py"


rule score_rouge:
    input:
        annotations=annotations_of_shard(),
    output:
        f"{R}/scores/rouge/{{shard}}.parquet",
    log:
        log("score_rouge/{shard}"),
    benchmark:
        f"{R}/benchmarks/score_rouge/{{shard}}.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(**PAIRS, **BENCHMARK["rouge"]),
    message:
        "ROUGE-1 and ROUGE-L, shard {wildcards.shard}"
    script:
        "../scripts/score_rouge.py"


rule score_sets:
    input:
        annotations=annotations_of_shard(),
    output:
        f"{R}/scores/sets/{{shard}}.parquet",
    log:
        log("score_sets/{shard}"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(**PAIRS, **BENCHMARK["sets"]),
    message:
        "Jaccard and overlap, shard {wildcards.shard}"
    script:
        "../scripts/score_sets.py"


rule score_vectors:
    input:
        annotations=annotations_of_shard(),
        document_frequencies=f"{R}/statistics/document_frequencies.parquet",
    output:
        f"{R}/scores/vectors/{{shard}}.parquet",
    log:
        log("score_vectors/{shard}"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(**PAIRS, **BENCHMARK["vectors"]),
    message:
        "TF-IDF and cosine, shard {wildcards.shard}"
    script:
        "../scripts/score_vectors.py"


rule score_bertscore:
    input:
        annotations=annotations_of_shard(),
        checkpoint=repositories.files(BENCHMARK["bertscore"]["repository"]),
    output:
        f"{R}/scores/bertscore/{{shard}}.parquet",
    log:
        log("score_bertscore/{shard}"),
    benchmark:
        f"{R}/benchmarks/score_bertscore/{{shard}}.tsv"
    conda:
        "../envs/embeddings.yaml"
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        settings=settings(**PAIRS, **BENCHMARK["bertscore"]),
    message:
        "BERTScore, shard {wildcards.shard}"
    script:
        "../scripts/score_bertscore.py"


rule score_sbert:
    input:
        annotations=annotations_of_shard(),
        checkpoint=repositories.files(BENCHMARK["sbert"]["repository"]),
    output:
        f"{R}/scores/sbert/{{shard}}.parquet",
    log:
        log("score_sbert/{shard}"),
    benchmark:
        f"{R}/benchmarks/score_sbert/{{shard}}.tsv"
    conda:
        "../envs/embeddings.yaml"
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        settings=settings(**PAIRS, **BENCHMARK["sbert"]),
    message:
        "Sentence-BERT, shard {wildcards.shard}"
    script:
        "../scripts/score_sbert.py"


rule aggregate_scores:
    input:
        scores=expand(f"{R}/scores/{{metric}}/{{shard}}.parquet", metric=METRICS, shard=SHARDS),
    output:
        f"{R}/scores/aggregate.parquet",
    log:
        log("aggregate_scores"),
    conda:
        "../envs/texts.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
    params:
        settings=settings(**PAIRS, intervals=BENCHMARK["intervals"], seed=config["seed"]),
    message:
        "Averages, maxima and their intervals"
    script:
        "../scripts/aggregate_scores.py"


CAPTIONED = dict(
    names=NAMES,
    **PAIRS,
    printed_tfidf=BENCHMARK["printed_tfidf"],
    intervals=BENCHMARK["intervals"],
    **{metric: BENCHMARK[metric] for metric in METRICS},
    rules_of_parsing={key: config["models"][key]["output"] for key in MODELS},
)


rule table_benchmark:
    input:
        aggregate=f"{R}/scores/aggregate.parquet",
    output:
        table("table{n}"),
    log:
        log("table_benchmark/{n}"),
    wildcard_constraints:
        n="[3456]",
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(**CAPTIONED),
    message:
        "Table {wildcards.n}"
    script:
        "../scripts/table_benchmark.py"


rule table_ablation:
    input:
        aggregate=f"{R}/scores/aggregate.parquet",
    output:
        table("table7"),
    log:
        log("table_ablation"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(**CAPTIONED, ablation_model=BENCHMARK["ablation_model"]),
    message:
        "Table 7: full text, thinking and answer"
    script:
        "../scripts/table_ablation.py"


rule tables:
    input:
        expand(
            f"{R}/tables/{{name}}{{form}}",
            name=[*(f"table{n}" for n in range(1, 8)), "language"],
            form=[".csv", ".tex", ".md"],
        ),
    message:
        "The tables are in {R}/tables"


rule compare_with_paper:
    input:
        tables=expand(f"{R}/tables/table{{n}}.csv", n=range(1, 8)),
        language=f"{R}/tables/language.csv",
        reported="resources/reported.yaml",
    output:
        multiext(f"{R}/comparison", ".csv", ".md", ".tex"),
    log:
        log("compare_with_paper"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=settings(
            run=config["run"],
            models=config["benchmarked"],
            ablation_model=BENCHMARK["ablation_model"],
        ),
    message:
        "Setting the paper's tables beside ours"
    script:
        "../scripts/compare_with_paper.py"


rule comparison:
    input:
        rules.compare_with_paper.output,
    message:
        "The comparison is {R}/comparison.md"
