# In: annotations/. Out: scores/<metric>/<shard>, agreement/<metric>/<shard>.
def annotations_of_block():
    """Return the annotations of a block, shard by shard: those of all models, teachers first."""
    shards_of_block = block_files(f"{R}/annotations/{{model}}/{{shard}}.parquet")
    return [file.replace("{model}", model) for file in shards_of_block for model in MODELS]


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
        "../scripts/metrics/fit_document_frequencies.py"


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
        "../scripts/metrics/score_rouge.py"


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
        metric_code=metric_code("token_overlap"),
        cache=f"{R}/score_cache/sets",
    message:
        "Jaccard and overlap, block {wildcards.block}"
    script:
        "../scripts/metrics/score_sets.py"


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
        metric_code=metric_code("tfidf"),
        cache=f"{R}/score_cache/vectors",
    message:
        "TF-IDF and cosine, block {wildcards.block}"
    script:
        "../scripts/metrics/score_vectors.py"


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
        "../scripts/metrics/score_bertscore.py"


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
        "../scripts/metrics/score_sbert.py"
