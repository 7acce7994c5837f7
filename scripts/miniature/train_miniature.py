"""Train one miniature checkpoint from a seed."""

import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from imagenet_think.core.files import publish, scratch_folder
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import progress
from imagenet_think.core.numbers import as_text
from imagenet_think.inference import chat, families, small_models
from imagenet_think.miniature.drawings import (
    BACKGROUNDS,
    CLUTTERS,
    COLOURS,
    LIGHTS,
    NAMES,
    SIZES,
    Scene,
    draw,
    places,
    sample_scene,
    seed_of,
)
from imagenet_think.miniature.recipes import RECIPES, Recipe, corpus
from imagenet_think.miniature.reply_templates import VOICES, first_look, wants_larger_image

logger = logging.getLogger("imagenet_think")

# What the vision tower learns about a whole image in the first stage.
_PROPERTIES = {
    "wnid": tuple(NAMES),
    "colour": tuple(COLOURS),
    "background": tuple(BACKGROUNDS),
    "count": (1, 2, 3),
    "size": SIZES,
    "clutter": CLUTTERS,
    "light": LIGHTS,
}
_NOTHING = len(NAMES)  # the label of a token that is on no object
_VISION_RATE = 2e-3
_LANGUAGE_RATE = 2e-3
# Large single objects first: a shape is learned from them in a few hundred steps, from all kinds
# in thousands.
_EASY_SHARE = 0.3
# The tower is frozen while the language model learns to read it; then everything is trained.
_FROZEN_SHARE = 0.6


@dataclass
class TrainingExample:
    """One exchange about a drawing: the inputs as in inference, and the reply to learn."""

    scene: Scene
    inputs: dict[str, torch.Tensor]
    reply: torch.Tensor
    images: int


def train_miniature(
    model: str,
    settings: dict,
    prompts: list[str],
    folder: str | Path,
    seed: int,
    device: str = "cpu",
    recipe: Recipe | None = None,
) -> list[float]:
    """Train a miniature and write its checkpoint folder.

    First only the vision tower learns what is where (`Questions`), then the language model learns
    to describe it in the model's voice, and finally both are trained. The loss covers the reply
    only.

    Parameters
    ----------
    model
        Key of the model in the config and in `RECIPES`.
    settings
        Its entry in the config: conversations are built from it exactly as inference builds them.
    prompts
        The prompts of the config; the first is that of the run.
    folder
        The checkpoint to write; it is written completely or not at all.
    seed
        Of weights, drawings and their order. Same seed and same versions, same checkpoint on a CPU.
    device
        Where to train.
    recipe
        Size and steps; the model's own unless given.

    Returns
    -------
    list of float
        The loss of every step of the second stage.
    """
    folder = Path(folder)
    recipe = recipe or RECIPES[model]
    with scratch_folder(folder) as temporary:
        work = temporary / folder.name
        texts = corpus(model, settings, prompts)
        small_models.build(settings["family"], work, recipe.size, corpus=texts, seed=seed)
        family = families.get(settings["family"])
        processor = family.load_processor(work, settings.get("image"))
        net = family.load_model(work, dtype=torch.float32, attention="sdpa", device=device).train()
        stop = net.generation_config.eos_token_id[0]
        examples = [
            example
            for scene in progress(
                training_scenes(seed, recipe.drawings), recipe.drawings, "drawings"
            )
            for example in _examples(model, scene, settings, prompts, processor, stop)
        ]
        torch.manual_seed(seed)
        order = random.Random(seed_of(seed, model, "order"))
        _train_tower(net, examples, recipe, order)
        losses = _train_whole(net, examples, recipe, order)
        small_models.save(family, net, work)
        shutil.rmtree(folder, ignore_errors=True)
        publish(work, folder)
    return losses


def training_scenes(seed: int, count: int) -> list[Scene]:
    """Return scenes of all classes in turn, from a random stream of their own."""
    wnids = tuple(NAMES)
    return [
        sample_scene(random.Random(seed_of(seed, "training", number)), wnids[number % len(wnids)])
        for number in range(count)
    ]


def _examples(
    model: str, scene: Scene, settings: dict, prompts: list[str], processor: Any, stop: int
) -> Iterator[TrainingExample]:
    """Yield the exchanges about one scene: two where the model asks for the larger image."""
    image = chat.png_file(draw(scene))
    # The run's prompt mostly; the others often enough to be understood.
    prompt = prompts[0] if scene.seed % 4 else prompts[scene.seed // 4 % len(prompts)]
    first = chat.first_conversation(image, prompt, settings)
    exchanges = [(first, VOICES[model].reply(scene))]
    if settings.get("second_round") and wants_larger_image(scene):
        look = first_look(scene)
        second = chat.second_conversation(first, look, image, settings)
        assert second is not None  # the look calls the tool
        exchanges = [(first, look), (second, VOICES[model].reply(scene))]
    for images, (conversation, reply) in enumerate(exchanges, start=1):
        inputs = chat.encode(processor, conversation)
        inputs["pixel_values"] = inputs["pixel_values"].half()  # thousands are kept
        tokens = processor.tokenizer(reply, add_special_tokens=False)["input_ids"]
        yield TrainingExample(scene, inputs, torch.tensor([*tokens, stop]), images)


def _pixels(examples: list[TrainingExample], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the pixels of a batch, and their grid if the family has one."""
    return {
        key: torch.cat([example.inputs[key] for example in examples]).to(device, dtype)
        for key, dtype in (("pixel_values", torch.float32), ("image_grid_thw", torch.int64))
        if key in examples[0].inputs
    }


def _batch(examples: list[TrainingExample], device: torch.device) -> dict[str, torch.Tensor]:
    """Return right-padded prompts and replies, with labels on the replies only."""
    rows, labels, kinds = [], [], []
    for example in examples:
        prompt = example.inputs["input_ids"][0]
        rows.append(torch.cat([prompt, example.reply]))
        labels.append(torch.cat([torch.full_like(prompt, -100), example.reply]))
        if "mm_token_type_ids" in example.inputs:
            kind = example.inputs["mm_token_type_ids"][0]
            kinds.append(torch.cat([kind, torch.zeros_like(example.reply)]))
    lengths = torch.tensor([len(row) for row in rows])
    batch = {
        "input_ids": pad_sequence(rows, batch_first=True),
        "attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
    }
    if kinds:
        batch["mm_token_type_ids"] = pad_sequence(kinds, batch_first=True)
    return {key: value.to(device) for key, value in batch.items()} | _pixels(examples, device)


class Questions(torch.nn.Module):
    """Classification heads of the vision tower, used in the first stage only.

    From every token they predict the object at its place, from the mean of all tokens the
    properties of the scene: so the tokens contain what the language model will look for.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.where = torch.nn.Linear(hidden, len(NAMES) + 1)
        self.whole = torch.nn.ModuleDict(
            {name: torch.nn.Linear(hidden, len(values)) for name, values in _PROPERTIES.items()}
        )

    def forward(
        self, tokens: list[torch.Tensor], scenes: list[Scene]
    ) -> tuple[torch.Tensor, float]:
        """Return the loss and the share of right objects; `tokens`: (tokens, hidden)."""
        device = tokens[0].device
        means = torch.stack([image.mean(0) for image in tokens])
        lying = torch.cat(
            [objects_at(scene, len(image)) for scene, image in zip(scenes, tokens, strict=True)]
        )
        said = self.where(torch.cat(tokens))
        loss = 2 * functional.cross_entropy(said, lying.to(device))
        for name, values in _PROPERTIES.items():
            truth = torch.tensor(
                [values.index(getattr(scene, name)) for scene in scenes], device=device
            )
            weight = {"wnid": 2.0, "colour": 1.0}.get(name, 0.5)
            loss = loss + weight * functional.cross_entropy(self.whole[name](means), truth)
        votes = [
            v.softmax(1)[:, :_NOTHING].sum(0).argmax() for v in said.split([len(t) for t in tokens])
        ]
        truth = torch.tensor([tuple(NAMES).index(scene.wnid) for scene in scenes], device=device)
        return loss, (torch.stack(votes) == truth).float().mean().item()


def objects_at(scene: Scene, tokens: int) -> torch.Tensor:
    """Return the object at each token of a square image: the number of a class or `_NOTHING`."""
    side = round(tokens**0.5)
    centres = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    found = torch.full((side, side), _NOTHING)
    for at_x, at_y, radius in places(scene):
        reach = max(0.85 * radius, 0.5 / side)
        found[((x - at_x).abs() < reach) & ((y - at_y).abs() < reach)] = tuple(NAMES).index(
            scene.wnid
        )
    return found.flatten()


def _tower(net: transformers.PreTrainedModel) -> list[torch.nn.Parameter]:
    parts = ("visual", "vision_tower", "projector")
    return [p for name, p in net.named_parameters() if any(part in name for part in parts)]


def _train_tower(
    net: transformers.PreTrainedModel,
    examples: list[TrainingExample],
    recipe: Recipe,
    order: random.Random,
) -> None:
    questions = Questions(recipe.size.hidden).to(net.device)
    towers: Any = net  # whose method depends on its class
    parameters = [*_tower(net), *questions.parameters()]
    descend = _descent(parameters, _VISION_RATE, recipe.vision_steps)
    easy = [e for e in examples if e.scene.count == 1 and e.scene.size == "large"]
    right = 0.0
    for step in progress(
        range(recipe.vision_steps), recipe.vision_steps, "steps of the vision tower"
    ):
        pool = easy if step < _EASY_SHARE * recipe.vision_steps and easy else examples
        chosen = order.choices(pool, k=recipe.batch)
        scenes = [example.scene for example in chosen for _ in range(example.images)]
        tokens = towers.get_image_features(**_pixels(chosen, net.device)).pooler_output
        loss, share = questions(list(tokens), scenes)
        descend(loss)
        right = share if step == 0 else 0.95 * right + 0.05 * share
        if step % 50 == 0:
            logger.info(
                "vision tower, step %d: loss %s, objects right %s",
                step,
                as_text(loss.item(), ".3f"),
                as_text(right, ".0%"),
            )


def _train_whole(
    net: transformers.PreTrainedModel,
    examples: list[TrainingExample],
    recipe: Recipe,
    order: random.Random,
) -> list[float]:
    descend = _descent(list(net.parameters()), _LANGUAGE_RATE, recipe.language_steps)
    tower = _tower(net)
    losses = []
    for step in progress(range(recipe.language_steps), recipe.language_steps, "steps of the whole"):
        for parameter in tower:
            parameter.requires_grad_(step >= _FROZEN_SHARE * recipe.language_steps)
        loss = net(**_batch(order.choices(examples, k=recipe.batch), net.device)).loss
        descend(loss)
        losses.append(loss.item())
        if step % 50 == 0:
            logger.info("whole model, step %d: loss %s", step, as_text(losses[-1], ".4f"))
    return losses


def _descent(
    parameters: list[torch.nn.Parameter], rate: float, steps: int
) -> Callable[[torch.Tensor], None]:
    """Return a function that takes the next of `steps` optimizer steps down a loss."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )

    def descend(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()

    return descend


if __name__ == "__main__":
    snakemake = start_job()
    torch.set_num_threads(snakemake.threads)
    transformers.logging.disable_progress_bar()
    settings = json.loads(snakemake.params.settings)
    texts = settings["prompts"]
    train_miniature(
        snakemake.wildcards.model,
        settings["models"][snakemake.wildcards.model],
        # The prompt of the run comes first: it is trained most.
        [texts.pop(settings["prompt"]), *texts.values()],
        snakemake.output[0],
        settings["seed"],
        device=snakemake.params.device,
    )
