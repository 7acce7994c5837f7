"""Drawn images of real ImageNet classes, each a pure function of a described scene.

The miniature draws its images instead of downloading photographs, so their contents are known. A
`Scene` says what is shown; `draw` turns it into pixels, the same on every machine with the same
Pillow.
"""

import hashlib
import io
import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, ...]
Points = list[tuple[float, float]]

# Multiples of two merged patches (28 pixels): every model family then sees a whole number of
# patches.
SIDES = (224, 252, 280, 308)

COLOURS = {
    "red": (214, 38, 40),
    "orange": (242, 138, 22),
    "yellow": (246, 222, 50),
    "green": (42, 156, 62),
    "blue": (38, 76, 214),
    "purple": (132, 48, 170),
    "white": (250, 250, 248),
    "black": (26, 26, 30),
}
# None of them is a colour of an object, so that a colour named in a text is the object's or the
# background's.
BACKGROUNDS = {
    "gray": (142, 146, 150),
    "pink": (244, 184, 204),
    "beige": (222, 206, 172),
    "teal": (58, 140, 142),
    "brown": (128, 92, 64),
    "navy": (34, 46, 92),
}
SIZES = ("small", "large")
PLACES = ("left", "middle", "right")
CLUTTERS = ("none", "dots", "lines", "squares")
LIGHTS = ("bright", "even", "dim")

_SUPERSAMPLING = 2  # drawn at twice the size and averaged: smooth edges


@dataclass(frozen=True)
class Scene:
    """What a drawing shows.

    `seed` decides the rest: exact places, tilt, the arrangement of the clutter.
    """

    wnid: str
    colour: str
    background: str
    count: int
    size: str
    place: str
    clutter: str
    light: str
    side: int
    seed: int

    @property
    def name(self) -> str:
        """The object's name, the first lemma of its class."""
        return NAMES[self.wnid]


def _ellipse(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0
) -> Points:
    """Points of an elliptic arc in degrees, clockwise from three o'clock."""
    steps = max(6, int(abs(end - start) / 10))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _star(points: int, inner: float) -> Points:
    angles = [math.pi * k / points - math.pi / 2 for k in range(2 * points)]
    radii = [1.0 if k % 2 == 0 else inner for k in range(2 * points)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


# Every shape is in the square from -1 to 1 (y down). A part is (paint, points): "body" has the
# object's colour, "shade" a darker one, "light" a lighter one; "wood", "metal", "flame" and
# "cloth" are fixed.
_NAMES_AND_SHAPES = {
    "n02782093": (
        "balloon",
        [
            ("metal", [(-0.03, 0.4), (0.1, 0.62), (-0.08, 0.8), (0.06, 1.0), (0.0, 1.0), (-0.14, 0.8), (0.04, 0.62)]),  # noqa: E501
            ("body", _ellipse(0, -0.32, 0.56, 0.68)),
            ("body", [(-0.14, 0.5), (0, 0.3), (0.14, 0.5)]),
            ("light", _ellipse(-0.22, -0.55, 0.12, 0.2)),
        ],
    ),
    "n04507155": (
        "umbrella",
        [
            ("wood", _box(-0.05, -0.95, 0.05, 0.78)),
            ("wood", _ellipse(0.14, 0.76, 0.19, 0.22, 180, 0) + _ellipse(0.14, 0.76, 0.1, 0.12, 0, 180)),  # noqa: E501
            ("body", [*_ellipse(0, 0.06, 1.0, 0.9, 180, 360), (0.66, -0.12), (0.33, 0.06), (0, -0.12), (-0.33, 0.06), (-0.66, -0.12)]),  # noqa: E501
            ("shade", [*_ellipse(0, 0.0, 0.33, 0.84, 180, 360), (0, -0.12)]),
        ],
    ),
    "n03354903": (
        "flag",
        [
            ("wood", _box(-0.82, -1.0, -0.68, 1.0)),
            ("body", [(-0.68, -0.92), (-0.2, -0.78), (0.3, -0.92), (0.95, -0.78), (0.95, 0.12), (0.3, -0.02), (-0.2, 0.12), (-0.68, -0.02)]),  # noqa: E501
            ("light", [(-0.68, -0.56), (-0.2, -0.42), (0.3, -0.56), (0.95, -0.42), (0.95, -0.22), (0.3, -0.36), (-0.2, -0.22), (-0.68, -0.36)]),  # noqa: E501
        ],
    ),
    "n03544143": (
        "hourglass",
        [
            ("body", [(-0.6, -0.8), (0.6, -0.8), (0.08, 0.0), (0.6, 0.8), (-0.6, 0.8), (-0.08, 0.0)]),  # noqa: E501
            ("light", [(-0.3, -0.42), (0.3, -0.42), (0.0, -0.02)]),
            ("wood", _box(-0.74, -1.0, 0.74, -0.8)),
            ("wood", _box(-0.74, 0.8, 0.74, 1.0)),
        ],
    ),
    "n02948072": (
        "candle",
        [
            ("flame", [(0, -1.0), (0.17, -0.62), (0.0, -0.42), (-0.17, -0.62)]),
            ("metal", _box(-0.03, -0.5, 0.03, -0.3)),
            ("body", _box(-0.27, -0.34, 0.27, 0.76)),
            ("light", _box(-0.18, -0.34, -0.06, 0.2)),
            ("metal", [(-0.62, 0.74), (0.62, 0.74), (0.44, 1.0), (-0.44, 1.0)]),
        ],
    ),
    "n03544360": (
        "house",
        [
            ("body", _box(-0.72, -0.12, 0.72, 0.95)),
            ("shade", [(-1.0, -0.08), (0, -0.95), (1.0, -0.08)]),
            ("metal", _box(-0.18, 0.36, 0.2, 0.95)),
            ("cloth", _box(-0.56, 0.1, -0.26, 0.4)),
            ("cloth", _box(0.3, 0.1, 0.6, 0.4)),
        ],
    ),
    "n04128499": (
        "sailboat",
        [
            ("wood", _box(-0.05, -1.0, 0.05, 0.5)),
            ("body", [(0.1, -0.95), (0.92, 0.36), (0.1, 0.36)]),
            ("body", [(-0.1, -0.7), (-0.1, 0.36), (-0.7, 0.36)]),
            ("wood", [(-1.0, 0.46), (1.0, 0.46), (0.62, 0.95), (-0.62, 0.95)]),
        ],
    ),
    "n02512053": (
        "fish",
        [
            ("body", [(0.36, 0.0), (1.0, -0.5), (0.86, 0.0), (1.0, 0.5)]),
            ("shade", [(-0.35, -0.35), (0.05, -0.72), (0.3, -0.3)]),
            ("body", _ellipse(-0.26, 0.0, 0.74, 0.48)),
            ("cloth", _ellipse(-0.62, -0.1, 0.13, 0.13)),
            ("metal", _ellipse(-0.63, -0.1, 0.06, 0.06)),
        ],
    ),
    "n02274259": (
        "butterfly",
        [
            ("body", [(0, 0.0), (0.35, -0.8), (0.85, -0.9), (1.0, -0.5), (0.8, -0.05), (0.2, 0.1)]),
            ("body", [(0, 0.0), (-0.35, -0.8), (-0.85, -0.9), (-1.0, -0.5), (-0.8, -0.05), (-0.2, 0.1)]),  # noqa: E501
            ("shade", [(0, 0.05), (0.66, 0.1), (0.78, 0.55), (0.45, 0.88), (0.1, 0.5)]),
            ("shade", [(0, 0.05), (-0.66, 0.1), (-0.78, 0.55), (-0.45, 0.88), (-0.1, 0.5)]),
            ("metal", _ellipse(0, 0.05, 0.09, 0.6)),
            ("light", _ellipse(0.6, -0.5, 0.14, 0.16)),
            ("light", _ellipse(-0.6, -0.5, 0.14, 0.16)),
        ],
    ),
    "n09444783": ("star", [("body", _star(5, 0.42)), ("light", _ellipse(0, 0.02, 0.16, 0.16))]),
    "n13104059": (
        "tree",
        [
            ("wood", _box(-0.13, 0.5, 0.13, 1.0)),
            ("body", [(-0.82, 0.62), (0, -0.1), (0.82, 0.62)]),
            ("body", [(-0.64, 0.16), (0, -0.52), (0.64, 0.16)]),
            ("body", [(-0.46, -0.3), (0, -1.0), (0.46, -0.3)]),
        ],
    ),
    "n07607605": (
        "lollipop",
        [
            ("cloth", _box(-0.07, 0.1, 0.07, 1.0)),
            ("body", _ellipse(0, -0.4, 0.6, 0.6)),
            ("light", _ellipse(0, -0.4, 0.42, 0.42, 200, 420) + _ellipse(0, -0.4, 0.28, 0.28, 420, 200)),  # noqa: E501
            ("shade", _ellipse(0, -0.4, 0.12, 0.12)),
        ],
    ),
}  # fmt: skip
NAMES = {wnid: name for wnid, (name, _) in _NAMES_AND_SHAPES.items()}

_PAINTS = {
    "wood": (110, 72, 44),
    "metal": (70, 74, 82),
    "flame": (255, 196, 64),
    "cloth": (236, 236, 226),
}

# Half the height of an object, as a share of the image's side, by how many there are and how large.
_RADII = {
    (1, "small"): (0.19, 0.23),
    (1, "large"): (0.32, 0.38),
    (2, "small"): (0.15, 0.17),
    (2, "large"): (0.195, 0.22),
    (3, "small"): (0.14, 0.155),
    (3, "large"): (0.18, 0.205),
}
# Centres in radii, from the middle of the group.
_ARRANGEMENTS = {
    1: ((0.0, 0.0),),
    2: ((-1.12, 0.0), (1.12, 0.0)),
    3: ((0.0, -1.08), (-1.12, 1.02), (1.12, 1.02)),
}


def seed_of(*parts: object) -> int:
    """Return a 64-bit seed that depends only on the parts (no salted hash)."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def sample_scene(rng: random.Random, wnid: str) -> Scene:
    """Return a scene of the class with every other property drawn from `rng`."""
    return Scene(
        wnid=wnid,
        colour=rng.choice(tuple(COLOURS)),
        background=rng.choice(tuple(BACKGROUNDS)),
        count=rng.choices((1, 2, 3), weights=(5, 3, 2))[0],
        size=rng.choice(SIZES),
        place=rng.choice(PLACES),
        clutter=rng.choice(CLUTTERS),
        light=rng.choice(LIGHTS),
        side=rng.choice(SIDES),
        seed=rng.getrandbits(32),
    )


def scene_of(seed: int, wnid: str, number: int) -> Scene:
    """Return the scene of drawing `number` of a class.

    Raises
    ------
    KeyError
        If the class has no drawing.
    """
    if wnid not in NAMES:
        raise KeyError(f"class {wnid} cannot be drawn; those that can: {', '.join(NAMES)}")
    return sample_scene(random.Random(seed_of(seed, wnid, number)), wnid)


def draw(scene: Scene) -> Image.Image:
    """Return the scene as an RGB image, `scene.side` pixels square."""
    rng = random.Random(scene.seed)
    side = scene.side * _SUPERSAMPLING
    image = Image.new("RGB", (side, side), _jitter(rng, BACKGROUNDS[scene.background], 12))
    canvas = ImageDraw.Draw(image)
    _draw_clutter(canvas, rng, scene.clutter, side)
    body = _jitter(rng, COLOURS[scene.colour], 10)
    for x, y, radius in places(scene):
        _draw_object(canvas, rng, scene.wnid, body, x * side, y * side, radius * side)
    return _lit(image.reduce(_SUPERSAMPLING), rng, scene.light)


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    """Return the image as a JPEG file, by default of about the quality of ImageNet's."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _jitter(rng: random.Random, colour: Colour, amount: int) -> Colour:
    return tuple(min(255, max(0, channel + rng.randint(-amount, amount))) for channel in colour)


def places(scene: Scene) -> list[tuple[float, float, float]]:
    """Return centre (x, y) and radius of each object, as shares of the side."""
    rng = random.Random(seed_of(scene.seed, "places"))
    radius = rng.uniform(*_RADII[scene.count, scene.size])
    toward = {"left": -1, "middle": 0, "right": 1}[scene.place] if scene.count == 1 else 0
    x = 0.5 + toward * min(0.26, 0.48 - radius) + rng.uniform(-0.03, 0.03)
    y = 0.5 + rng.uniform(-0.04, 0.04)
    shake = 0.06 * radius
    return [
        (
            x + dx * radius + rng.uniform(-shake, shake),
            y + dy * radius + rng.uniform(-shake, shake),
            radius,
        )
        for dx, dy in _ARRANGEMENTS[scene.count]
    ]


def _draw_object(
    canvas: ImageDraw.ImageDraw,
    rng: random.Random,
    wnid: str,
    body: Colour,
    x: float,
    y: float,
    radius: float,
) -> None:
    tilt = math.radians(rng.uniform(-6, 6))
    stretch = rng.uniform(0.95, 1.05)
    cos, sin = math.cos(tilt) * radius, math.sin(tilt) * radius
    darker = tuple(int(channel * 0.72) for channel in body)
    lighter = tuple(int(channel + (255 - channel) * 0.45) for channel in body)
    paints = _PAINTS | {"body": body, "shade": darker, "light": lighter}
    edge = tuple(int(channel * 0.3) for channel in body) if max(body) > 60 else (120, 120, 128)
    width = max(2, round(radius * 0.08))
    for paint, points in _NAMES_AND_SHAPES[wnid][1]:
        turned = [
            (x + u * stretch * cos - v * sin, y + u * stretch * sin + v * cos) for u, v in points
        ]
        canvas.polygon(turned, fill=paints[paint])
        if paint in ("body", "shade"):
            canvas.line([*turned, turned[0]], fill=edge, width=width, joint="curve")


def _draw_clutter(canvas: ImageDraw.ImageDraw, rng: random.Random, clutter: str, side: int) -> None:
    """Small shapes in any colour, under the objects: what a model must not name."""
    if clutter == "none":
        return
    palette = tuple(COLOURS.values()) + tuple(BACKGROUNDS.values())
    for _ in range(rng.randint(6, 14)):
        x, y = rng.uniform(0, side), rng.uniform(0, side)
        colour = _jitter(rng, rng.choice(palette), 12)
        reach = rng.uniform(0.012, 0.032) * side
        if clutter == "dots":
            canvas.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
        elif clutter == "squares":
            canvas.rectangle((x - reach, y - reach, x + reach, y + reach), fill=colour)
        else:
            angle, length = rng.uniform(0, math.pi), rng.uniform(0.08, 0.3) * side
            dx, dy = length * math.cos(angle), length * math.sin(angle)
            canvas.line(
                (x - dx, y - dy, x + dx, y + dy), fill=colour, width=max(2, round(reach / 3))
            )


def _lit(image: Image.Image, rng: random.Random, light: str) -> Image.Image:
    """Light that falls off across the picture in a random direction."""
    level = {"bright": 1.1, "even": 0.97, "dim": 0.78}[light]
    fall, angle = rng.uniform(0.02, 0.14), rng.uniform(0, 2 * math.pi)
    ramp = np.linspace(-1, 1, image.width, dtype=np.float32)
    field = level * (1 + fall * (ramp[None, :] * math.cos(angle) + ramp[:, None] * math.sin(angle)))
    pixels = np.asarray(image, dtype=np.float32) * field[:, :, None]
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
