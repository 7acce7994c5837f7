"""Draw images of the classes into one tar per class, with some that must be rejected."""

import io
import json
import random
import tarfile
from pathlib import Path

from PIL import Image

from imagenet_think.core.files import atomic_path
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import progress
from imagenet_think.miniature.drawings import draw, jpeg, scene_of, seed_of

FLAWS = ("too_small", "truncated", "not_an_image", "blank", "near_duplicate")
"""What is wrong with the last images of every archive, in their order."""


def draw_images(
    directory: str | Path,
    classes: list[str],
    drawings_per_class: int,
    seed: int,
    drawings_step: int = 0,
) -> None:
    """Write `<wnid>.tar` for every class, in the layout of ImageNet's archives.

    Members are `<wnid>_<number>.JPEG`. The first are drawings of the scenes that
    `drawings.scene_of(seed, wnid, number)` returns, the last are images that a pipeline must
    reject (`FLAWS`). Same arguments, same bytes.

    Parameters
    ----------
    directory
        Where the archives go.
    classes
        WordNet ids that `imagenet_think.miniature.drawings` can draw.
    drawings_per_class
        Good drawings in the archive of the first class.
    seed
        Seed of the drawings.
    drawings_step
        More good drawings for each further class: classes differ in size, as the real ones do.

    Raises
    ------
    KeyError
        If a class cannot be drawn.
    """
    for place, wnid in enumerate(progress(classes, len(classes), "drawn classes")):
        drawings = drawings_per_class + place * drawings_step
        with atomic_path(Path(directory) / f"{wnid}.tar") as path, tarfile.open(path, "w") as tar:
            for number, data in enumerate(_members(wnid, drawings, seed)):
                entry = tarfile.TarInfo(f"{wnid}_{number}.JPEG")  # its time is 0, its owner root
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def _members(wnid: str, drawings: int, seed: int) -> list[bytes]:
    """Return the image files of a class: good drawings, then one with each of `FLAWS`."""
    good = [jpeg(draw(scene_of(seed, wnid, number))) for number in range(drawings)]
    small, whole, _, blank, _ = (
        draw(scene_of(seed, wnid, drawings + number)) for number in range(len(FLAWS))
    )
    rng = random.Random(seed_of(seed, wnid, "flaws"))
    side = rng.randrange(64, 200)
    data = jpeg(whole)
    truncated = data[: int(len(data) * rng.uniform(0.4, 0.7))]
    page = f"<html><body>This photo is no longer available ({rng.random()}).</body></html>"
    gray = rng.randrange(200, 250)
    with Image.open(io.BytesIO(rng.choice(good))) as original:
        duplicate = jpeg(original, quality=75)
    return [
        *good,
        jpeg(small.resize((side, side))),
        truncated,
        page.encode(),
        jpeg(Image.new("RGB", blank.size, (gray,) * 3)),
        duplicate,
    ]


if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    source = settings["images"]["source"]
    draw_images(
        source["path"],
        source["classes"],
        source["drawings_per_class"],
        settings["seed"],
        source["drawings_step"],
    )
