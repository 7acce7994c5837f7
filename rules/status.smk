# In: what the run has written so far. Out: a table on the terminal, and no file.
# `snakemake --quiet host rules progress --cores 1 status` prints little else.


rule status:
    input:
        leave_the_lock_alone,
    log:
        ".snakemake/status.log",  # stays empty: all goes to the terminal
    conda:
        "../envs/texts.yaml"
    params:
        run=config["run"],
        stages=stage_jobs,
        asked=asked,
        sample=f"{R}/images/sample.parquet",
        bookkeeping=".snakemake",
    message:
        "How far the run {config[run]} has come"
    script:
        "../scripts/status.py"
