# In: annotations/. Out: scores/, agreement/, tables 3 to 7 and what goes beyond them, comparison.
COMPARED = dict(
    annotations=annotations_of_block(),
    sample=f"{R}/images/sample.parquet",
    evaluated=f"{R}/images/evaluated.parquet",
)


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
        settings=reads("benchmark.vectors"),
    message:
        "Counting in how many references each word stands"
    script:
        "../scripts/fit_document_frequencies.py"


rule score_rouge:
    input:
        **COMPARED,
    output:
        **scored("rouge"),
    log:
        log("score_rouge/{block}"),
    benchmark:
        f"{R}/benchmarks/score_rouge/{{block}}.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("seed", "teachers", "benchmarked", "benchmark.rouge"),
        metric_code=metric_code("rouge"),
        cache=f"{R}/score_cache/rouge",
    message:
        "ROUGE-1 and ROUGE-L, block {wildcards.block}"
    script:
        "../scripts/score_rouge.py"


rule score_sets:
    input:
        **COMPARED,
    output:
        **scored("sets"),
    log:
        log("score_sets/{block}"),
    benchmark:
        f"{R}/benchmarks/score_sets/{{block}}.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("seed", "teachers", "benchmarked", "benchmark.sets"),
        metric_code=metric_code("sets"),
        cache=f"{R}/score_cache/sets",
    message:
        "Jaccard and overlap, block {wildcards.block}"
    script:
        "../scripts/score_sets.py"


rule score_vectors:
    input:
        **COMPARED,
        document_frequencies=f"{R}/statistics/document_frequencies.parquet",
    output:
        **scored("vectors"),
    log:
        log("score_vectors/{block}"),
    benchmark:
        f"{R}/benchmarks/score_vectors/{{block}}.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("seed", "teachers", "benchmarked", "benchmark.vectors"),
        metric_code=metric_code("vectors"),
        cache=f"{R}/score_cache/vectors",
    message:
        "TF-IDF and cosine, block {wildcards.block}"
    script:
        "../scripts/score_vectors.py"


rule score_bertscore:
    input:
        **COMPARED,
        pinned=pinned("benchmark.bertscore"),
    output:
        **scored("bertscore"),
    log:
        log("score_bertscore/{block}"),
    benchmark:
        f"{R}/benchmarks/score_bertscore/{{block}}.tsv"
    conda:
        "../envs/embeddings.yaml"
    resources:
        gpu=1,
    params:
        settings=reads(
            "seed",
            "teachers",
            "benchmarked",
            "benchmark.bertscore.repository",
            "benchmark.bertscore.revision",
            "benchmark.bertscore.layer",
            "benchmark.bertscore.max_tokens",
            "benchmark.bertscore.windows",
            "benchmark.bertscore.precision",
        ),
        checkpoint=content("benchmark.bertscore.repository"),
        metric_code=metric_code("bertscore"),
        cache=f"{R}/score_cache/bertscore",
        inference=uses("benchmark.bertscore.batch_size"),
    message:
        "BERTScore, block {wildcards.block}"
    script:
        "../scripts/score_bertscore.py"


rule score_sbert:
    input:
        **COMPARED,
        pinned=pinned("benchmark.sbert"),
    output:
        **scored("sbert"),
    log:
        log("score_sbert/{block}"),
    benchmark:
        f"{R}/benchmarks/score_sbert/{{block}}.tsv"
    conda:
        "../envs/embeddings.yaml"
    resources:
        gpu=1,
    params:
        settings=reads(
            "seed",
            "teachers",
            "benchmarked",
            "benchmark.sbert.repository",
            "benchmark.sbert.revision",
            "benchmark.sbert.max_tokens",
            "benchmark.sbert.windows",
            "benchmark.sbert.precision",
        ),
        checkpoint=content("benchmark.sbert.repository"),
        metric_code=metric_code("sbert"),
        cache=f"{R}/score_cache/sbert",
        inference=uses("benchmark.sbert.batch_size"),
    message:
        "Sentence-BERT, block {wildcards.block}"
    script:
        "../scripts/score_sbert.py"


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
        settings=reads("seed", "benchmarked", "benchmark.missing", "benchmark.intervals"),
    message:
        "{wildcards.metric}: averages, maxima and their intervals"
    script:
        "../scripts/aggregate_scores.py"


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
        "../scripts/compare_models.py"


rule aggregate_groups:
    input:
        scores=SCORED,
        sample=f"{R}/images/sample.parquet",
        lengths=expand(
            f"{R}/statistics/lengths/{{model}}/{{shard}}.parquet",
            model=config["benchmarked"],
            shard=SHARDS,
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
        settings=reads("seed", "benchmarked", "benchmark.missing", "benchmark.intervals"),
    message:
        "{wildcards.metric}: averages and maxima by domain, complexity and length"
    script:
        "../scripts/aggregate_groups.py"


TABLED = {"3": ["bertscore", "sbert"], "4": ["rouge"], "5": ["sets"]}


rule table_benchmark:
    input:
        aggregate=lambda wildcards: of_metrics("aggregate", TABLED[wildcards.n]),
    output:
        table("table{n}"),
    log:
        log("table_benchmark/{n}"),
    wildcard_constraints:
        n="[345]",
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers",
            "benchmarked",
            "models.{teachers}.name",
            "models.{benchmarked}.name",
            "benchmark.missing",
            "benchmark.intervals",
            "benchmark.{tabled}.repository",
            "benchmark.{tabled}.layer",
            "benchmark.{tabled}.max_tokens",
            "benchmark.{tabled}.windows",
            "benchmark.{tabled}.precision",
            "benchmark.{tabled}.stemmer",
            "benchmark.{tabled}.token_pattern",
            "benchmark.{tabled}.stop_words",
            tabled=lambda wildcards: TABLED[wildcards.n],
        ),
    message:
        "Table {wildcards.n}"
    script:
        "../scripts/table_benchmark.py"


use rule table_benchmark as table_vectors with:
    input:
        aggregate=of_metrics("aggregate", ["vectors"]),
    output:
        table("table6"),
    log:
        log("table_vectors"),
    params:
        settings=reads(
            "teachers",
            "benchmarked",
            "models.{teachers}.name",
            "models.{benchmarked}.name",
            "benchmark.missing",
            "benchmark.intervals",
            "benchmark.printed_tfidf",
            "benchmark.vectors",
        ),
    message:
        "Table 6"


rule table_ablation:
    input:
        aggregate=of_metrics("aggregate"),
    output:
        table("table7"),
    log:
        log("table_ablation"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers",
            "models.{teachers}.name",
            "models.{teachers}.output",
            "models.{ablation_model}.name",
            "models.{ablation_model}.output",
            "benchmark.ablation_model",
            "benchmark.missing",
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
        "Table 7: full text, thinking and answer"
    script:
        "../scripts/table_ablation.py"


rule table_ranks:
    input:
        differences=of_metrics("differences"),
        aggregate=of_metrics("aggregate"),
    output:
        table("ranks"),
    log:
        log("table_ranks"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers",
            "benchmarked",
            "models.{teachers}.name",
            "models.{benchmarked}.name",
            "benchmark.missing",
            "benchmark.intervals",
            "benchmark.printed_tfidf",
        ),
    message:
        "Ranks of the models, and which of them the images tell apart"
    script:
        "../scripts/table_ranks.py"


rule table_groups:
    input:
        groups=of_metrics("groups"),
        aggregate=of_metrics("aggregate"),
    output:
        table("groups"),
    log:
        log("table_groups"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers",
            "benchmarked",
            "models.{teachers}.name",
            "models.{benchmarked}.name",
            "benchmark.missing",
            "benchmark.intervals",
        ),
    message:
        "Scores by domain and complexity"
    script:
        "../scripts/table_groups.py"


rule table_parts:
    input:
        aggregate=of_metrics("aggregate"),
        groups=of_metrics("groups"),
    output:
        table("parts"),
    log:
        log("table_parts"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "teachers",
            "benchmarked",
            "models.{teachers}.name",
            "models.{benchmarked}.name",
            "benchmark.missing",
            "benchmark.intervals",
            "benchmark.printed_tfidf",
        ),
    message:
        "Thinking against answer of every model, and by length"
    script:
        "../scripts/table_parts.py"


TABLES = [f"table{n}" for n in range(1, 8)]
TABLES += ["language", "ranks", "groups", "parts", "agreement", "agreement_domains", "mentions"]


rule tables:
    input:
        expand(f"{R}/tables/{{name}}{{form}}", name=TABLES, form=[".csv", ".tex", ".md"]),
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
        settings=reads(
            "teachers",
            "benchmarked",
            "prompt",
            "prompts.{prompt}",
            "images.source.kind",
            "models.{models}.name",
            "models.{models}.repository",
            "statistics.tokenizer.repository",
            "benchmark.images",
            "benchmark.ablation_model",
            "benchmark.bertscore.repository",
            "benchmark.sbert.repository",
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
