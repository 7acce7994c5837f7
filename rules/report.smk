# In: what the run wrote as Markdown. Out: pages/*.html, the same for a browser.
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


report: "report/run.rst"


rule render_pages:
    input:
        pages=[
            *expand(f"{R}/tables/{{name}}.md", name=[*PAPER_TABLES, *FURTHER_TABLES]),
            *expand(f"{R}/{{name}}.md", name=ACCOUNTS),
        ],
        template="scripts/render_pages.html",
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
        "../scripts/render_pages.py"


use rule render_pages as render_checkpoints with:
    input:
        pages=[f"{R}/checkpoints.md"],
        template="scripts/render_pages.html",
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
