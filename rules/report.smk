# In: images/, annotations/, statistics/, scores/, agreement/. Out: tables/, figures/, comparison, audit, pages/, paper.pdf.
# `snakemake --report report.zip` gathers pages and figures, each with the words of rules/report/<name>.rst.
PAPER_TABLES = {
    "table1": "Table 1: beside other datasets",
    "table2": "Table 2: images and classes",
    "table3": "Table 3: BERTScore, Sentence-BERT",
    "table4": "Table 4: ROUGE",
    "table5": "Table 5: Jaccard, overlap",
    "table6": "Table 6: TF-IDF, cosine",
    "table7": "Table 7: thinking and answer",
}
FURTHER_TABLES = {
    "agreement": "Agreement of the teachers",
    "agreement_domains": "Agreement by domain",
    "groups": "Scores by domain and complexity",
    "language": "Length and language",
    "mentions": "Answers that name the class",
    "parts": "Thinking against answer",
    "ranks": "Ranks of the models",
}
ACCOUNTS = {
    "accounting": "Accounting of all images",
    "audit": "Audit of the paper",
    "comparison": "Comparison with the paper",
    "cost": "Cost of the responses",
}


def sampled_images(wildcards):
    """Return the sample of images; refuse a list of images."""
    if not LAYOUT.sampled:
        return refuse(
            f"The paper describes how images were sampled, but images.source of kind {SOURCE['kind']} lists them. `tables`, "
            "`figures` and `comparison` need no sampling."
        )
    return f"{R}/images/sample.parquet"


report: "report/run.rst"


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
        "../scripts/report/table_datasets.py"


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
        "../scripts/report/table_images.py"


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
        "../scripts/report/table_language.py"


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
        "../scripts/report/table_mentions.py"


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
        "../scripts/report/table_benchmark.py"


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
        "../scripts/report/table_ablation.py"


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
        "../scripts/report/table_ranks.py"


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
        "../scripts/report/table_groups.py"


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
        "../scripts/report/table_parts.py"


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
        "../scripts/report/table_agreement.py"


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
        "../scripts/report/compare_with_paper.py"


rule comparison:
    input:
        rules.compare_with_paper.output,
    message:
        "The comparison is {R}/comparison.md"


rule audit:
    input:
        entries="resources/audit.yaml",
        reported="resources/reported.yaml",
        classes="resources/imagenet21k_p_winter21.tsv",
    output:
        multiext(f"{R}/audit", ".csv", ".md", ".tex"),
    log:
        log("audit"),
    conda:
        "../envs/texts.yaml"
    message:
        "Setting the paper's statements beside its own numbers"
    script:
        "../scripts/report/audit.py"


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
        "../scripts/report/figure_organisation.py"


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
        "../scripts/report/figure_sample.py"


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
        "../scripts/report/figure_coverage.py"


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
        "../scripts/report/figure_lengths.py"


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
        "../scripts/report/figure_scores.py"


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
        "../scripts/report/figure_agreement.py"


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
        criteria=files("images.criteria", by=criteria_files),
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
            "images.criteria",
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
        "../scripts/report/export_numbers.py"


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
        "../scripts/report/compile_paper.py"


rule paper:
    input:
        rules.compile_paper.output,
    message:
        "The paper is {R}/paper.pdf"


rule render_pages:
    input:
        pages=[
            *expand(f"{R}/tables/{{name}}.md", name=[*PAPER_TABLES, *FURTHER_TABLES]),
            *expand(f"{R}/{{name}}.md", name=ACCOUNTS),
        ],
        template="scripts/report/render_pages.html",
    output:
        [
            shown(f"{R}/pages/{name}.html", "Tables of the paper", PAPER_TABLES[name])
            for name in PAPER_TABLES
        ],
        [
            shown(f"{R}/pages/{name}.html", "Further tables", FURTHER_TABLES[name])
            for name in FURTHER_TABLES
        ],
        [shown(f"{R}/pages/{name}.html", "The run", ACCOUNTS[name]) for name in ACCOUNTS],
    log:
        log("render_pages"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("run"),
    message:
        "Rendering tables and accounts for a browser"
    script:
        "../scripts/report/render_pages.py"


use rule render_pages as render_checkpoints with:
    input:
        pages=[f"{R}/checkpoints.md"],
        template="scripts/report/render_pages.html",
    output:
        shown(f"{R}/pages/checkpoints.html", "The run", "What the models need"),
    log:
        log("render_checkpoints"),
    message:
        "Rendering what the models need for a browser"


rule pages:
    input:
        rules.render_pages.output,
    message:
        "The pages are in {R}/pages"
