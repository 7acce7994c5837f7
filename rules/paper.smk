# In: tables, scores, annotations, images. Out: figures/, paper/numbers.tex, paper.pdf.


SHOWN = dict(
    sample=f"{R}/images/sample.parquet",
    images=expand(f"{R}/images/shards/{{shard}}.parquet", shard=SHARDS),
    annotations=of_teachers(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
)


rule figure_organisation:
    input:
        **SHOWN,
    output:
        **figure("figure_organisation", "Figure 1: how a sample is organised"),
    log:
        log("figure_organisation"),
    conda:
        "../envs/figures.yaml"
    params:
        settings=reads(
            "seed",
            "prompt",
            "prompts.{prompt}",
            "teachers",
            "models.{teachers}.name",
            "figures.samples",
        ),
    message:
        "Figure 1: how a sample is organised"
    script:
        "../scripts/figure_organisation.py"


rule figure_sample:
    input:
        **SHOWN,
    output:
        **figure("figure_sample", "Figure 2: one sample in full"),
    log:
        log("figure_sample"),
    conda:
        "../envs/figures.yaml"
    params:
        settings=rules.figure_organisation.params.settings,
    message:
        "Figure 2: one sample in full"
    script:
        "../scripts/figure_sample.py"


rule figure_coverage:
    input:
        sample=f"{R}/images/sample.parquet",
        classes=f"{R}/images/classes.parquet",
    output:
        **figure("figure_coverage", "Images and classes by domain"),
    log:
        log("figure_coverage"),
    conda:
        "../envs/figures.yaml"
    message:
        "Figure: images and classes by domain"
    script:
        "../scripts/figure_coverage.py"


rule figure_lengths:
    input:
        lengths=of_teachers(f"{R}/statistics/lengths/{{model}}/{{shard}}.parquet"),
    output:
        **figure("figure_lengths", "Lengths by teacher and part"),
    log:
        log("figure_lengths"),
    conda:
        "../envs/figures.yaml"
    params:
        settings=reads("teachers", "models.{teachers}.name", "statistics.tokenizer.repository"),
    message:
        "Figure: token lengths by teacher and part"
    script:
        "../scripts/figure_lengths.py"


rule figure_scores:
    input:
        aggregate=of_metrics("aggregate"),
    output:
        **figure("figure_scores", "Scores by model"),
    log:
        log("figure_scores"),
    conda:
        "../envs/figures.yaml"
    params:
        settings=reads("benchmarked", "models.{benchmarked}.name", "benchmark.printed_tfidf"),
    message:
        "Figure: scores by model"
    script:
        "../scripts/figure_scores.py"


FIGURES = ["organisation", "sample", "coverage", "lengths", "scores", "agreement"]

# Without pictures, those that show some are left out; the paper, which has them all, cannot be made.
WITHOUT_PICTURES = [name for name in FIGURES if name not in ("organisation", "sample")]
MADE = FIGURES if PICTURES else WITHOUT_PICTURES


rule figures:
    input:
        expand(f"{R}/figures/figure_{{name}}.{{form}}", name=MADE, form=["pdf", "png"]),
    message:
        "The figures are in {R}/figures"


rule export_numbers:
    input:
        tables=expand(
            f"{R}/tables/{{name}}.csv", name=[*(f"table{n}" for n in range(1, 8)), "language"]
        ),
        comparison=f"{R}/comparison.csv",
        audit=f"{R}/audit.csv",
        reported="resources/reported.yaml",
        sample=sampled_images,
        exclusions=f"{R}/images/exclusions.parquet",
        annotations=expand(
            f"{R}/annotations/{{model}}/{{shard}}.parquet", model=MODELS, shard=SHARDS
        ),
    output:
        f"{R}/paper/numbers.tex",
    log:
        log("export_numbers"),
    conda:
        "../envs/figures.yaml"
    params:
        settings=reads(
            "run",
            "seed",
            "prompt",
            "prompts.{prompt}",
            "teachers",
            "benchmarked",
            "images.balance",
            "images.preparation",
            "images.source.kind",
            "images.criteria.min_side",
            "images.criteria.max_pixels",
            "images.criteria.min_contrast",
            "images.criteria.min_sharpness",
            "images.criteria.max_noise",
            "images.criteria.near_duplicate_bits",
            "images.complexity.strata",
            "models.{models}.name",
            "models.{generated}.repository",
            "models.{generated}.decoding.max_new_tokens",
            "models.{generated}.decoding.temperature",
            "models.{imported}.responses.path",
            "dataset.test",
            "dataset.validation",
            "statistics.tokenizer.repository",
            "benchmark.ablation_model",
            "benchmark.intervals",
            "benchmark.bertscore.repository",
            "benchmark.bertscore.max_tokens",
            "benchmark.sbert.repository",
            "benchmark.sbert.max_tokens",
        ),
    message:
        "Numbers for the paper's text"
    script:
        "../scripts/export_numbers.py"


rule compile_paper:
    input:
        sources=[
            "paper/main.tex",
            "paper/references.bib",
            f"{R}/paper/numbers.tex",
            f"{R}/comparison.tex",
            f"{R}/audit.tex",
        ],
        tables=expand(f"{R}/tables/{{name}}.tex", name=TABLES),
        figures=expand(f"{R}/figures/figure_{{name}}.pdf", name=FIGURES),
    output:
        f"{R}/paper.pdf",
    log:
        log("compile_paper"),
    conda:
        "../envs/figures.yaml"
    message:
        "Typesetting the paper"
    script:
        "../scripts/compile_paper.py"


rule paper:
    input:
        rules.compile_paper.output,
    message:
        "The paper is {R}/paper.pdf"
