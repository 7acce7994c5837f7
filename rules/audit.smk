# In: resources/audit.yaml, reported.yaml. Out: audit.csv, .md, .tex, the same in every run.


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
        "../scripts/audit.py"
