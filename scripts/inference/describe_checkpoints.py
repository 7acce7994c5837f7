"""Build every model of the config without its weights, and report what it needs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import torch
from huggingface_hub import try_to_load_from_cache
from PIL import Image

from imagenet_think.core import model_sources
from imagenet_think.core.csv_files import write_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.numbers import as_text
from imagenet_think.core.settings import in_order
from imagenet_think.inference import chat, checkpoint_specs, families, sampling_settings
from imagenet_think.report import escaping

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
    logger.info(page)
    stem = Path(stem)
    write_text(page, stem.with_suffix(".md"))
    joined = [
        row | {"sampling": json.dumps(row["sampling"]), "unchecked": "; ".join(row["unchecked"])}
        for row in rows
    ]
    write_csv(pl.DataFrame(joined), stem.with_suffix(".csv"))


def describe(settings: dict) -> dict[str, Any]:
    """Return the properties of a model from its entry in the config.

    They are `repository`, `family`, `read` (what was read), `parameters`, `weights_gib`,
    `cached_bytes` (per token, all layers, bf16), `expanded_bytes` (the same if a latent is cached
    expanded), `cache_gib` (of a sequence of `TOKENS`), `image_tokens` (of an image of `IMAGE_SIZE`,
    in the first round), `whole_image_tokens` (in a second round; without one, the same), `sampling`
    (from the function of this name) and `unchecked` (list of str).
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
        "whole_image_tokens": image_tokens({**settings, "second_round": None}, folder),
        "sampling": sampling(settings, folder),
        "unchecked": checkpoint_specs.unchecked(family, repository, folder),
    }


def on_disk(repository: str, revision: str | None) -> Path | None:
    """Return the folder of a repository's config.json, or None if it is not on the disk."""
    if not model_sources.is_hub(repository):
        return model_sources.folder(repository)
    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def sampling(settings: dict, folder: Path | None) -> dict[str, tuple[Any, Any]] | None:
    """Return every sampling setting that the checkpoint publishes, with the value in force.

    A value in force is None if the engines do not apply the setting. The result is None if the file
    of the settings is not on the disk.
    """
    if folder is None or not (folder / sampling_settings.FILE).exists():
        return None
    decoding = sampling_settings.resolved(settings, folder)
    decoding["do_sample"] = decoding["temperature"] > 0
    published = sampling_settings.published(folder)
    return {key: (value, decoding.get(key)) for key, value in published.items()}


def image_tokens(settings: dict, folder: Path | None) -> int:
    """Return the number of tokens of an image of `IMAGE_SIZE` in the model's first round."""
    family, image = settings["family"], settings.get("image")
    needed = [("tokenizer.json", "tiktoken.model"), ("preprocessor_config.json",)]
    if folder and all(any((folder / name).exists() for name in names) for names in needed):
        processor = families.get(family).load_processor(folder, image)
    else:
        processor = checkpoint_specs.processor(family, image)
    chat.require_images(processor, settings)
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
            f"| {row['model']} | {row['read']} | {row['parameters']:,} "
            f"| {as_text(row['weights_gib'], '.2f')} | {row['cached_bytes']:,}{more} "
            f"| {as_text(row['cache_gib'], '.2f')} | {_tokens(row)} "
            f"| {doubts} |"
        )
    lines += ["", *_sampling_lines(rows)]
    for row in rows:
        if row["unchecked"]:
            lines += ["", f"**{row['model']}** ({row['repository']}), unchecked:", ""]
            lines += [f"- {doubt}" for doubt in row["unchecked"]]
    if any(row["unchecked"] for row in rows):
        lines += ["", "Sources: `resources/checkpoints/sources.yaml`."]
    return "\n".join(lines) + "\n"


def _tokens(row: dict) -> str:
    first, whole = row["image_tokens"], row["whole_image_tokens"]
    return str(first) if first == whole else f"{first}, then {whole}"


def _sampling_lines(rows: list[dict]) -> Iterator[str]:
    """Yield a table of the published sampling settings, and which checkpoints' are not known."""
    yield from (
        "## Sampling settings",
        "",
        f"What each checkpoint publishes in its {sampling_settings.FILE}, and what is in force: "
        "the values of the config or, with `from_checkpoint`, those published.",
        "",
    )
    known = [row for row in rows if row["sampling"]]
    if known:
        yield from ("| model | setting | published | in force |", "| --- | --- | --- | --- |")
    for row in known:
        for key, (published, own) in row["sampling"].items():
            in_force = "not applied" if own is None else f"{own}"
            mark = "" if own == published else " (differs)"
            stated = (escaping.markdown(str(text)) for text in (key, published))
            yield f"| {row['model']} | {' | '.join(stated)} | {in_force}{mark} |"
    for text, state in (("No settings are published by", {}), ("Not on the disk:", None)):
        if models := [row["model"] for row in rows if row["sampling"] == state]:
            yield from ("", f"{text} {', '.join(models)}.")


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    describe_checkpoints(
        models={key: settings["models"][key] for key in in_order(settings)},
        stem=Path(snakemake.output[0]).with_suffix(""),
    )
