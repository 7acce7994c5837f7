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
    reject, in the order of `FLAWS`. Same arguments, same bytes.

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
    good = [jpeg(draw(scene_of(seed, wnid, number))) for number in range(drawings)]
    spare = [draw(scene_of(seed, wnid, drawings + number)) for number in range(len(FLAWS))]
    rng = random.Random(seed_of(seed, wnid, "flaws"))
    return good + [
        make(rng, image, good) for make, image in zip(FLAWS.values(), spare, strict=True)
    ]


def _too_small(rng: random.Random, image: Image.Image, good: list[bytes]) -> bytes:
    side = rng.randrange(64, 200)
    return jpeg(image.resize((side, side)))


def _truncated(rng: random.Random, image: Image.Image, good: list[bytes]) -> bytes:
    data = jpeg(image)
    return data[: int(len(data) * rng.uniform(0.4, 0.7))]


def _no_image(rng: random.Random, image: Image.Image, good: list[bytes]) -> bytes:
    return f"<html><body>This photo is no longer available ({rng.random()}).</body></html>".encode()


def _blank(rng: random.Random, image: Image.Image, good: list[bytes]) -> bytes:
    return jpeg(Image.new("RGB", image.size, (rng.randrange(200, 250),) * 3))


def _near_duplicate(rng: random.Random, image: Image.Image, good: list[bytes]) -> bytes:
    with Image.open(io.BytesIO(rng.choice(good))) as original:
        return jpeg(original, quality=75)


FLAWS = {
    "too_small": _too_small,
    "truncated": _truncated,
    "not_an_image": _no_image,
    "blank": _blank,
    "near_duplicate": _near_duplicate,
}
"""Images to reject in every archive, by what is wrong with them, in the order of its members."""


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
