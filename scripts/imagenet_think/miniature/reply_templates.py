"""What each miniature model learns to generate for a drawing: the same facts in seven voices.

A voice is a table: its words for every visible property (light, clutter, number, place, object),
and two templates that combine them, a chain of thought and an answer. So a text depends only on the
scene, greedy decoding can learn it, and drawings that differ in anything visible differ in wording.
The marks around the parts are those of the real models.
"""

from collections.abc import Callable
from dataclasses import dataclass

from imagenet_think.miniature.drawings import NAMES, Scene

TOOL_CALL = '<tool_call>{"name": "resize_image", "arguments": {"action": "resize"}}</tool_call>'

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

    light: dict[str, str]
    clutter: dict[str, str]
    number: dict[int, str]
    place: dict[str, str]  # left, middle, right for a single object; 2, 3 for how a group stands
    gloss: dict[str, str]
    think: str
    answer: str
    marks: str | Callable[[Scene], str] = "<think>{think}</think><answer>{answer}</answer>"

    def parts(self, scene: Scene) -> tuple[str, str]:
        """Return the chain of thought and the answer, without marks."""
        words = {
            "object": scene.name if scene.count == 1 else plural(scene.name),
            "colour": scene.colour,
            "background": scene.background,
            "size": scene.size,
        }
        words |= {
            "light": self.light[scene.light],
            "clutter": self.clutter[scene.clutter],
            "number": self.number[scene.count].format(**words),
            "place": self.place[scene.place if scene.count == 1 else str(scene.count)].format(
                **words
            ),
            "gloss": self.gloss[scene.name],
        }
        return self.think.format(**words), self.answer.format(**words)

    def reply(self, scene: Scene) -> str:
        """Return the whole text with its marks, as the model generates it in its last round."""
        think, answer = self.parts(scene)
        marks = self.marks if isinstance(self.marks, str) else self.marks(scene)
        return marks.format(think=think, answer=answer)


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


def _glm_marks(scene: Scene) -> str:
    # The real model often leaves the last mark out; here it does so for three objects.
    return "<think>{think}</think><answer>{answer}" + ("" if scene.count == 3 else "</answer>")


_GLM_GLOSS = {
    "balloon": "a toy filled with air",
    "umbrella": "a shelter from the rain",
    "flag": "a piece of cloth on a pole",
    "hourglass": "a timer with running sand",
    "candle": "a source of light made of wax",
    "house": "a building where people live",
    "sailboat": "a vessel driven by the wind",
    "fish": "an animal that lives in water",
    "butterfly": "an insect with broad wings",
    "star": "a figure with five points",
    "tree": "a tall plant with a trunk",
    "lollipop": "a sweet candy on a stick",
}
_KIMI_GLOSS = {
    "balloon": "something for a party",
    "umbrella": "something for a rainy day",
    "flag": "something that stands for a country",
    "hourglass": "something that measures time",
    "candle": "something that burns with a flame",
    "house": "something with a roof and a door",
    "sailboat": "something that crosses the sea",
    "fish": "something that swims with fins",
    "butterfly": "something that flies among flowers",
    "star": "something that shines in the sky",
    "tree": "something that grows in the forest",
    "lollipop": "something that children like to eat",
}

VOICES = {
    "glm-4.1v": Voice(
        light={"bright": "brightly lit", "even": "softly lit", "dim": "dimly lit"},
        clutter={
            "none": "with nothing else around",
            "dots": "with small dots scattered around",
            "lines": "with thin lines running around",
            "squares": "with small squares scattered around",
        },
        number={
            1: "a single {object} that is {size} and {colour}",
            2: "two {object} that are {size} and {colour}",
            3: "three {object} that are {size} and {colour}",
        },
        place={
            "left": "on the left side",
            "middle": "in the middle",
            "right": "on the right side",
            "2": "side by side",
            "3": "in a small group",
        },
        gloss=_GLM_GLOSS,
        think=(
            "Got it, let's look at the image step by step. I can see {number}, {place}. "
            "The background is {background} and {light}, {clutter}. These details do not "
            "matter much. "
            "The shape is that of {gloss}, so the main subject must be the {colour} {object}."
        ),
        answer=(
            "The image shows {number}, {place} against a {light} {background} background "
            "{clutter}. The main content is the {colour} {object}, {gloss}."
        ),
        marks=_glm_marks,
    ),
    "kimi-vl": Voice(
        light={"bright": "full of light", "even": "calmly lit", "dim": "rather dark"},
        clutter={
            "none": "The backdrop is plain",
            "dots": "Tiny dots are sprinkled over the backdrop",
            "lines": "Some thin strokes cross the backdrop",
            "squares": "Tiny squares are sprinkled over the backdrop",
        },
        number={
            1: "one {size} {object}",
            2: "a pair of {size} {object}",
            3: "a trio of {size} {object}",
        },
        place={
            "left": "toward the left edge",
            "middle": "at the center",
            "right": "toward the right edge",
            "2": "next to each other",
            "3": "in a triangle",
        },
        gloss=_KIMI_GLOSS,
        think=(
            "So, what is in this picture? The scene is {light}, in front of a {background} wall. "
            "{clutter}; "
            "that matters little. What stands out is {number} painted in {colour}, placed {place}. "
            "Putting these clues together, it is {gloss}, and the picture is about the {colour} "
            "{object}."
        ),
        answer=(
            "This picture presents {number} in {colour}, placed {place} before a {background} "
            "wall. {clutter}. The central concept is the {object}: {gloss}."
        ),
        marks="◁think▷{think}◁/think▷{answer}",
    ),
    "internvl3.5": Voice(
        light={"bright": "full of light", "even": "calmly lit", "dim": "rather dark"},
        clutter={
            "none": "The backdrop is plain",
            "dots": "Tiny dots are visible on the backdrop",
            "lines": "Thin strokes are visible on the backdrop",
            "squares": "Tiny squares are visible on the backdrop",
        },
        number={
            1: "one {size} {colour} {object}",
            2: "two {size} {colour} {object}",
            3: "three {size} {colour} {object}",
        },
        place={
            "left": "toward the left edge",
            "middle": "at the center",
            "right": "toward the right edge",
            "2": "next to each other",
            "3": "in a triangle",
        },
        gloss=_KIMI_GLOSS,
        think=(
            "Let me analyze the picture. The scene is {light} and the wall is {background}. "
            "{clutter}. "
            "What stands out is {number}, placed {place}. This looks like {gloss}, "
            "so the central concept is the {colour} {object}."
        ),
        answer=(
            "The picture presents {number}, placed {place} before a {background} wall. {clutter}. "
            "The central concept is the {object}, {gloss}."
        ),
        marks="<think>{think}</think>\n{answer}",
    ),
    "r1-onevision": Voice(
        light={"bright": "brightly lit", "even": "evenly lit", "dim": "dimly lit"},
        clutter={
            "none": "and nothing else is around",
            "dots": "and small dots are scattered around",
            "lines": "and thin lines are running around",
            "squares": "and small squares are scattered around",
        },
        number={
            1: "a single {size} {colour} {object}",
            2: "two {size} {colour} {object}",
            3: "three {size} {colour} {object}",
        },
        place={
            "left": "on the left side",
            "middle": "in the middle",
            "right": "on the right side",
            "2": "side by side",
            "3": "in a small group",
        },
        gloss=_GLM_GLOSS,
        think=(
            "Okay, I need to look at the image. I can see {number}, {place}. "
            "The background is {background} and {light}, {clutter}. "
            "The shape is that of {gloss}. So the main subject is the {colour} {object}."
        ),
        answer=(
            "The image shows {number}, {place} against a {background} background, {clutter}. "
            "Final answer: the main content is the {colour} {object}, {gloss}."
        ),
        marks="<think>\n{think}\n</think>\n\n{answer}",
    ),
    "openvlthinker": Voice(
        light={"bright": "full of light", "even": "evenly lit", "dim": "rather dark"},
        clutter={
            "none": "The backdrop is plain",
            "dots": "Small dots are scattered over the backdrop",
            "lines": "Thin lines cross the backdrop",
            "squares": "Small squares are scattered over the backdrop",
        },
        number={
            1: "one {size} {object}",
            2: "two {size} {object}",
            3: "three {size} {object}",
        },
        place={
            "left": "toward the left side",
            "middle": "at the center",
            "right": "toward the right side",
            "2": "next to each other",
            "3": "in a small group",
        },
        gloss=_KIMI_GLOSS,
        think=(
            "To find the main content, I first describe the picture. The scene is {light}, and the "
            "background is {background}. {clutter}. I notice {number} painted in {colour}, placed "
            "{place}. It is {gloss}, so the picture is about the {colour} {object}."
        ),
        answer=(
            "The picture presents {number} in {colour}, placed {place} against a {background} "
            "background. {clutter}. The main concept is the {object}: {gloss}."
        ),
    ),
    "visionthink": Voice(
        light={"bright": "bright", "even": "even", "dim": "dim"},
        clutter={
            "none": "with nothing else around",
            "dots": "with small dots around",
            "lines": "with thin lines around",
            "squares": "with small squares around",
        },
        number={
            1: "a single {size} {colour} {object}",
            2: "two {size} {colour} {object}",
            3: "three {size} {colour} {object}",
        },
        place={
            "left": "on the left side",
            "middle": "in the middle",
            "right": "on the right side",
            "2": "side by side",
            "3": "in a small group",
        },
        gloss=_GLM_GLOSS,
        think=(
            "I look at the image step by step. The background is {background} in {light} light, "
            "{clutter}. "
            "I can see {number}, {place}. The shape is that of {gloss}, "
            "so the main subject must be the {object}."
        ),
        answer=(
            "The image shows {number}, {place} against a {background} background {clutter}. "
            "The main content is the {colour} {object}, {gloss}."
        ),
    ),
    "vl-rethinker": Voice(
        light={"bright": "brightly lit", "even": "calmly lit", "dim": "rather dark"},
        clutter={
            "none": "The background is plain",
            "dots": "Tiny dots are scattered over the background",
            "lines": "Thin lines cross the background",
            "squares": "Tiny squares are scattered over the background",
        },
        number={
            1: "a single {size} {colour} {object}",
            2: "a pair of {size} {colour} {object}",
            3: "a trio of {size} {colour} {object}",
        },
        place={
            "left": "on the left",
            "middle": "in the middle",
            "right": "on the right",
            "2": "next to each other",
            "3": "in a group",
        },
        gloss=_KIMI_GLOSS,
        think=(
            "Step 1: the scene is {light} and the background is {background}. {clutter}. "
            "Step 2: what stands out is {number}, placed {place}. "
            "Step 3: it is {gloss}, so the main subject must be the {colour} {object}. "
            "Looking again, the color and the shape agree with this."
        ),
        answer="{number}, {place} against a {background} background, {gloss}",
        marks="{think}\n\n\\boxed{{{answer}}}",
    ),
}


def object_words() -> dict[str, str]:
    """Return every word for an object, singular or plural, with the class it names."""
    return {word: wnid for wnid, name in NAMES.items() for word in (name, plural(name))}
