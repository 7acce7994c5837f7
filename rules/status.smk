# In: the plan of `all`, and what the run has written so far. Out: a table on the terminal, and no file.


rule status:
    input:
        lambda wildcards: workflow_hooks.only_read(workflow, "status"),
    log:
        ".snakemake/status.log",  # stays empty: all goes to the terminal
    conda:
        "../envs/workflow.yaml"
    params:
        run=config["run"],
        results=R,
        models=MODELS,
        # The script plans in a process of its own: no plan can be made while another one is being made.
        plan=dict(
            snakefile=workflow.main_snakefile,
            folder=Path.cwd(),
            configfile=Path(workflow.configfiles[-1]),
            targets=["all"],
            **workflow_hooks.command_line(workflow),
        ),
        logs=".snakemake/log",
    message:
        "How far the run {config[run]} has come"
    script:
        "../scripts/status.py"
