"""What each miniature model learns to generate for a drawing: the same facts in seven voices.

A voice is a table: its words for every visible property (light, clutter, number, place, object),
and two templates that combine them, a chain of thought and an answer. So a text depends only on the
scene, greedy decoding can learn it, and drawings that differ in anything visible differ in wording.
The marks around the parts are those of the real models.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from imagenet_think.miniature.drawings import CLUTTERS, LIGHTS, NAMES, PLACES, Scene

TOOL_CALL = '<tool_call>{"name": "resize_image", "arguments": {"action": "resize"}}</tool_call>'

# The committed models have learned "hourglasss".
_PLURALS = {"butterfly": "butterflies", "fish": "fish"}


def plural(name: str) -> str:
    """Return the plural of a class name."""
    return _PLURALS.get(name, f"{name}s")


@dataclass(frozen=True)
class Voice:
    """One model's words.

    The templates may use `{object}`, `{colour}`, `{background}`, `{size}` and the phrases
    `{light}`, `{clutter}`, `{number}`, `{place}`, `{gloss}`; `number` and `place` may use the
    first four.
    """

    light: list[str]  # in the order of `LIGHTS`
    clutter: list[str]  # in the order of `CLUTTERS`
    number: list[str]  # of one, two and three objects
    place: list[str]  # of one object in the order of `PLACES`, of two, of three
    gloss: dict[str, str]
    think: str
    answer: str
    marks: str
    marks_of_three: str | None = None  # where it differs for three objects

    def parts(self, scene: Scene) -> tuple[str, str]:
        """Return the chain of thought and the answer, without marks."""
        words = {
            "object": scene.name if scene.count == 1 else plural(scene.name),
            "colour": scene.colour,
            "background": scene.background,
            "size": scene.size,
        }
        place = PLACES.index(scene.place) if scene.count == 1 else len(PLACES) + scene.count - 2
        words |= {
            "light": self.light[LIGHTS.index(scene.light)],
            "clutter": self.clutter[CLUTTERS.index(scene.clutter)],
            "number": self.number[scene.count - 1].format(**words),
            "place": self.place[place].format(**words),
            "gloss": self.gloss[scene.name],
        }
        return self.think.format(**words), self.answer.format(**words)

    def reply(self, scene: Scene) -> str:
        """Return the whole text with its marks, as the model generates it in its last round."""
        think, answer = self.parts(scene)
        marks = self.marks_of_three if scene.count == 3 else None
        return (marks or self.marks).format(think=think, answer=answer)


def wants_larger_image(scene: Scene) -> bool:
    """Return whether VisionThink asks for the full-size image: if objects are drawn small."""
    return scene.size == "small"


def first_look(scene: Scene) -> str:
    """Return VisionThink's reply in its first round where it asks for the full-size image."""
    clutter = {
        "none": "The scene is bare",
        "dots": "There are dots",
        "lines": "There are lines",
        "squares": "There are squares",
    }[scene.clutter]
    return (
        f"<think>{clutter} on the {scene.background} background, but the subject is too small to "
        f"be sure of at this resolution. I should enlarge the image.</think>{TOOL_CALL}"
    )


_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
VOICES = {model: Voice(**fields) for model, fields in _TABLES["voices"].items()}


def object_words() -> dict[str, str]:
    """Return every word for an object, singular or plural, with the class it names."""
    return {word: wnid for wnid, name in NAMES.items() for word in (name, plural(name))}
