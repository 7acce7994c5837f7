"""The run: its config, its accounts, and the hooks into Snakemake."""
