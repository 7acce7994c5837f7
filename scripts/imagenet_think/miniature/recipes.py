"""The miniature's models: their sizes, how long they learn, and the corpora of their tokenizers."""

from dataclasses import dataclass

from imagenet_think.inference.small_models import Size
from imagenet_think.miniature.drawings import NAMES, scene_of
from imagenet_think.miniature.reply_templates import VOICES, first_look


@dataclass(frozen=True)
class Recipe:
    """Size of a model and how long it learns."""

    size: Size
    drawings: int  # different ones in its training set
    vision_steps: int  # of the optimizer, with the vision tower only
    language_steps: int  # with the whole model
    batch: int = 32  # drawings per step


# The two teachers learn longest, from most drawings. The five others are worse because they get
# less of something, never because of noise, so that the tables have something to rank: InternVL is
# smaller and learns a little shorter; R1-Onevision and OpenVLThinker learn half as long, the latter
# from fewer drawings; VisionThink has a shallower tower and half the resolution in its first round;
# VL-Rethinker is the smallest and learns the shortest.
RECIPES = {
    "glm-4.1v": Recipe(Size(128, 3, 128, 3), 8000, 2000, 600),
    "kimi-vl": Recipe(Size(128, 3, 128, 3), 8000, 1600, 1100),
    "internvl3.5": Recipe(Size(128, 2, 96, 3), 8000, 1800, 700),
    "r1-onevision": Recipe(Size(128, 2, 96, 3), 4000, 850, 450),
    "openvlthinker": Recipe(Size(128, 2, 96, 3), 3000, 650, 450),
    "visionthink": Recipe(Size(128, 2, 96, 2), 4000, 1200, 600, 24),
    "vl-rethinker": Recipe(Size(96, 2, 96, 2), 3000, 600, 400),
}


def corpus(model: str, settings: dict, prompts: list[str]) -> list[str]:
    """Return texts from which a model's tokenizer learns.

    These are replies to drawings, and all that prompts contain as often as every twentieth reply.

    Parameters
    ----------
    model
        Key of the model, one of `RECIPES`.
    settings
        Its entry in the config: system prompt and templates.
    prompts
        The prompts of the config.
    """
    scenes = [scene_of(0, wnid, number) for wnid in NAMES for number in range(100)]
    replies = [VOICES[model].reply(scene) for scene in scenes]
    fixed = [settings.get("system"), settings.get("template"), *prompts]
    fixed.append("You are a helpful assistant")
    if "second_round" in settings:
        replies += [first_look(scene) for scene in scenes]
        fixed.append(settings["second_round"]["template"])
    texts = [text.replace("{image}", "{prompt}").split("{prompt}") for text in fixed if text]
    pieces = [piece for parts in texts for piece in parts if piece]
    return replies + pieces * (len(scenes) // 20)
