# In: the plan of `all`, and what the run has written so far. Out: a table on the terminal, and no file.


def only_read(wildcards):
    """Return no input, and let `status` run beside another Snakemake."""
    workflow_hooks.only_read(workflow, "status")
    return []


rule status:
    input:
        only_read,
    log:
        ".snakemake/status.log",  # stays empty: all goes to the terminal
    params:
        run=config["run"],
        results=R,
        models=MODELS,
        # Planned by the script, as a plan cannot be made within a plan.
        plan=dict(
            snakefile=workflow.main_snakefile,
            folder=Path.cwd(),
            configfile=Path(workflow.configfiles[-1]),
            targets=["all"],
            overrides=workflow_hooks.overrides(workflow),
        ),
        logs=".snakemake/log",
    message:
        "How far the run {config[run]} has come"
    script:
        "../scripts/status.py"
