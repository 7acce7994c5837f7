"""The page of a canary: images, texts and defects in one HTML file that loads nothing."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from imagenet_think.core.templates import html_template
from imagenet_think.inference.canary_checks import BLANK, OWN, SWAPPED, Defect, Replies, formats
from imagenet_think.inference.chat import png_file
from imagenet_think.inference.conversations import Policy

GRAY = (128, 128, 128)
_TEMPLATE = Path(__file__).with_name("canary_page.html")
_THUMBNAIL = (240, 180)


def blank(image: bytes) -> bytes:
    """Return a gray image of the same size as another, as a PNG file."""
    with Image.open(io.BytesIO(image)) as file:
        return png_file(Image.new("RGB", file.size, GRAY))


def render(
    policy: Policy,
    record: Mapping[str, Any],
    images: Mapping[str, bytes],
    replies: Replies,
    defects: Sequence[Defect],
) -> str:
    """Return the page as HTML, with the engine's record and the image files by image_id."""
    own = [reply for reply in replies if reply.way == OWN]
    kept = formats(replies)
    return html_template(_TEMPLATE).render(
        key=policy.model["key"],
        prompt=policy.prompt,
        defects=defects,
        broken=str(kept) if kept.broken else None,
        record=record,
        facts=[
            ("images", len(own)),
            ("finished texts", len(kept.finished)),
            ("of them, in the model's format", len(kept.finished) - len(kept.broken)),
            ("garbled texts", sum(bool(reply.garbled) for reply in own)),
        ],
        rows=[
            (name, _thumbnail(image), {r.way: r for r in replies if r.image_id == name})
            for name, image in images.items()
        ],
        blanks={name: _thumbnail(blank(image)) for name, image in images.items()},
        headings={
            OWN: "Unchanged",
            BLANK: "Replaced by a blank image",
            SWAPPED: "Under another image's key",
        },
    )


def _thumbnail(image: bytes) -> str:
    """Return an image as a small JPEG in a data URI."""
    with Image.open(io.BytesIO(image)) as file:
        small = file.convert("RGB")
    small.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
