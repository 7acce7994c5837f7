"""Build every model of the config without its weights, and report what it needs."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import torch
from huggingface_hub import try_to_load_from_cache
from PIL import Image

from imagenet_think.core import model_sources
from imagenet_think.core.files import atomic_path, write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.numbers import as_text
from imagenet_think.core.settings import in_order
from imagenet_think.inference import chat, checkpoint_specs, families

TOKENS = 8192
"""Length of the sequence whose cache is computed: prompt, image and response."""

IMAGE_SIZE = (500, 375)
"""Width and height of the image whose tokens are counted."""

DTYPE = torch.bfloat16


def describe_checkpoints(models: dict[str, dict], stem: str | Path) -> None:
    """Write `<stem>.md` and `<stem>.csv`, with one row per model of the config, in its order.

    Each model is built at full size on the meta device by its family's loader, which maps every
    weight by its published name. Files of a checkpoint are used if they are on the disk (in a local
    folder or the hub's cache); if its weights are not among them, the published names are used.

    Raises
    ------
    ValueError
        If models cannot be built, or weights are missing, unexpected or of a different shape. All
        such models are named.
    """
    rows: list[dict[str, Any]] = []
    problems = []
    for key, settings in models.items():
        try:
            rows.append({"model": key, **describe(settings)})
        except ValueError as error:
            problems.append(f"{key} ({settings['repository']}): {error}")
    if problems:
        raise ValueError("checkpoints that would not load:\n" + "\n".join(problems))
    page = report(rows)
    logger.info("%s", page)
    stem = Path(stem)
    write_text(page, stem.with_suffix(".md"))
    joined = [{**row, "unchecked": "; ".join(row["unchecked"])} for row in rows]
    with atomic_path(stem.with_suffix(".csv")) as path:
        pl.DataFrame(joined).write_csv(path)


def describe(settings: dict) -> dict[str, Any]:
    """Return the properties of a model from its entry in the config.

    They are `repository`, `family`, `read` (what was read), `parameters`, `weights_gib`,
    `cached_bytes` (per token, all layers, bf16), `expanded_bytes` (the same if a latent is cached
    expanded), `cache_gib` (of a sequence of `TOKENS`), `image_tokens` (of an image of `IMAGE_SIZE`)
    and `unchecked` (list of str).
    """
    family, repository = settings["family"], settings["repository"]
    folder = on_disk(repository, settings["revision"])
    model = checkpoint_specs.meta_model(family, folder, DTYPE)
    read = "published shapes" if folder is None else "config on the disk, published names"
    if folder and checkpoint_specs.has_weights(folder):
        read = "config and weights on the disk"
    cached = checkpoint_specs.cached_bytes(model.config, DTYPE)
    parameters = model.num_parameters()
    return {
        "repository": repository,
        "family": family,
        "read": read,
        "parameters": parameters,
        "weights_gib": parameters * DTYPE.itemsize / 2**30,
        "cached_bytes": cached,
        "expanded_bytes": checkpoint_specs.cached_bytes(model.config, DTYPE, expanded=True),
        "cache_gib": TOKENS * cached / 2**30,
        "image_tokens": image_tokens(settings, folder),
        "unchecked": checkpoint_specs.unchecked(family, repository, folder),
    }


def on_disk(repository: str, revision: str | None) -> Path | None:
    """Return the folder of a repository's config.json, or None if it is not on the disk."""
    if not model_sources.is_hub(repository):
        return model_sources.folder(repository)
    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def image_tokens(settings: dict, folder: Path | None) -> int:
    """Return the number of tokens of an image of `IMAGE_SIZE` in the model's first round."""
    family, image = settings["family"], settings.get("image")
    needed = [("tokenizer.json", "tiktoken.model"), ("preprocessor_config.json",)]
    if folder and all(any((folder / name).exists() for name in names) for names in needed):
        processor = families.get(family).load_processor(folder, image)
    else:
        processor = checkpoint_specs.processor(family, image)
    picture = chat.png_file(Image.new("RGB", IMAGE_SIZE))
    inputs = chat.encode(processor, chat.first_conversation(picture, "", settings))
    return int((inputs["input_ids"] == processor.image_token_id).sum())


def report(rows: list[dict]) -> str:
    """Return the rows as a Markdown page, with a list of unchecked properties."""
    width, height = IMAGE_SIZE
    lines = [
        "# Checkpoints",
        "",
        "Built at full size without values: every weight finds its place. Memory in bfloat16.",
        "",
        "| model | from | parameters | weights, GiB | cached bytes per token "
        f"| cache of {TOKENS:,} tokens, GiB | tokens of a {width} × {height} image | unchecked |",
        "| --- | --- | --: | --: | --: | --: | --: | --- |",
    ]
    for row in rows:
        expanded = row["expanded_bytes"]
        more = f" ({expanded:,} expanded)" if expanded != row["cached_bytes"] else ""
        doubts = f"{len(row['unchecked'])}, see below" if row["unchecked"] else "nothing"
        lines.append(
            f"| {row['model']} | {row['read']} | {row['parameters']:,} | "
            f"{as_text(row['weights_gib'], '.2f')} "
            f"| {row['cached_bytes']:,}{more} | {as_text(row['cache_gib'], '.2f')} | "
            f"{row['image_tokens']} "
            f"| {doubts} |"
        )
    for row in rows:
        if row["unchecked"]:
            lines += ["", f"**{row['model']}** ({row['repository']}), unchecked:", ""]
            lines += [f"- {doubt}" for doubt in row["unchecked"]]
    if any(row["unchecked"] for row in rows):
        lines += ["", "Sources: `resources/checkpoints/sources.yaml`."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    describe_checkpoints(
        models={key: settings["models"][key] for key in in_order(settings)},
        stem=Path(snakemake.output[0]).with_suffix(""),
    )
