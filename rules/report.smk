# In: images/, annotations/, statistics/, scores/, agreement/. Out: tables/, figures/, comparison, audit, pages/, paper.pdf.
# Each table and figure is a row of scripts/imagenet_think/report/products.py.
# `snakemake --report report.zip` gathers pages and figures, each with what its row says about it (`check_plan`).


report: "report/run.rst"


# What replaces the names in braces in the inputs of tables and figures.
PLACES = dict(
    run=R,
    teachers=TEACHERS,
    models=MODELS,
    metrics=METRICS,
    datasets=DATASETS,
    shards=SHARDS,
    statistics=sorted({name for metric in registry.metrics() for name in metric.statistics}),
)
FOUND_BY = {}  # functions that find the files that a key of the config names, by the key


create_rules("report")


rule table_benchmark:
    input:
        aggregate=lambda wildcards: expand(
            f"{R}/scores/{{metric}}/aggregate.parquet", metric=metrics_of(wildcards.table)
        ),
        statistics=lambda wildcards: [
            path
            for metric in metrics_of(wildcards.table)
            for path in statistics_of(metric).values()
        ],
    output:
        table("{table}"),
    log:
        log("table_benchmark/{table}"),
    wildcard_constraints:
        table="|".join(registry.tables()),
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
            "benchmark.{tabled}.{setting}",
            tabled=lambda wildcards: metrics_of(wildcards.table),
        ),
    message:
        "Table of scores: {wildcards.table}"
    script:
        "../scripts/report/table_benchmark.py"


rule tables:
    input:
        [f"{R}/{file}" for each in products.tables() for file in each.files],
    message:
        "The tables are in {R}/tables"


# Without pictures, figures that show some are left out, and the paper cannot be made.
rule figures:
    input:
        [f"{R}/{file}" for each in products.figures(pictures=PICTURES) for file in each.files],
    message:
        "The figures are in {R}/figures"


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
            "benchmark.{encoders}.repository",
        ),
    message:
        "Comparing the paper's tables with this run's"
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
        "Checking the paper's statements against its own numbers"
    script:
        "../scripts/report/audit.py"


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
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet", MODELS),
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
            "models.{generated}.decoding.from_checkpoint",
            "models.{imported}.responses.path",
            "dataset.test",
            "dataset.validation",
            "statistics.tokenizer.repository",
            "benchmark.ablation_model",
            "benchmark.intervals",
            "benchmark.missing",
            "benchmark.{encoders}.repository",
            "benchmark.{encoders}.max_tokens",
            "benchmark.{encoders}.windows",
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
        tables=[f"{R}/tables/{each.name}.tex" for each in products.tables() if each.in_paper],
        figures=[f"{R}/figures/{each.name}.pdf" for each in products.figures() if each.in_paper],
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


SHOWN_AS_PAGES = [*products.tables(), *products.ACCOUNTS]


rule render_pages:
    input:
        pages=[f"{R}/{each.markdown}" for each in SHOWN_AS_PAGES],
        template="scripts/report/render_pages.html",
    output:
        [shown(f"{R}/pages/{each.name}.html", each) for each in SHOWN_AS_PAGES],
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
        pages=[f"{R}/{products.CHECKPOINTS.markdown}"],
        template="scripts/report/render_pages.html",
    output:
        shown(f"{R}/pages/checkpoints.html", products.CHECKPOINTS),
    log:
        log("render_checkpoints"),
    message:
        "Rendering the requirements of the models for a browser"


rule pages:
    input:
        rules.render_pages.output,
    message:
        "The pages are in {R}/pages"
