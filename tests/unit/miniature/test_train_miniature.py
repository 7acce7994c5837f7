import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from miniatures import MINIATURES
from safetensors.torch import load_file

from imagenet_think.inference import chat, families, small_models
from imagenet_think.inference.small_models import Size
from imagenet_think.miniature.drawings import NAMES, draw, places, scene_of
from imagenet_think.miniature.recipes import RECIPES, Recipe, corpus
from imagenet_think.miniature.reply_templates import VOICES
from train_miniature import objects_at, train_miniature, training_scenes

PROMPTS = list(MINIATURES["prompts"].values())
COMMITTED = Path("resources/miniatures")
SMALL = Recipe(
    Size(hidden=64, layers=2, vision_hidden=32, vision_layers=2),
    drawings=24,
    vision_steps=4,
    language_steps=12,
    batch=4,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A function from a model to the folder of its untrained miniature, built once."""

    @functools.cache
    def build(model):
        settings = MINIATURES["models"][model]
        return small_models.build(
            settings["family"],
            tmp_path_factory.mktemp(model),
            RECIPES[model].size,
            corpus=corpus(model, settings, PROMPTS),
            seed=1,
        )

    return build


def loaded(model, folder):
    family = families.get(MINIATURES["models"][model]["family"])
    processor = family.load_processor(folder, MINIATURES["models"][model].get("image"))
    net = family.load_model(folder, dtype=torch.float32, attention="sdpa", device="cpu")
    return processor, net


def save(model, net, folder):
    small_models.save(families.get(MINIATURES["models"][model]["family"]), net, folder)


def drawing(seed, number):
    return chat.png_file(draw(scene_of(seed, "n09444783", number)))


@pytest.mark.parametrize("model", ["vl-rethinker", "visionthink"])
def test_loss_falls_in_a_few_steps_and_the_folder_is_whole(model, tmp_path):
    losses = train_miniature(
        model, MINIATURES["models"][model], PROMPTS, tmp_path / model, seed=3, recipe=SMALL
    )
    assert len(losses) == SMALL.language_steps
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert [path.name for path in tmp_path.iterdir()] == [model]
    loaded(model, tmp_path / model)


@pytest.mark.slow
def test_same_seed_same_bytes(tmp_path):
    recipe = replace(SMALL, language_steps=2)
    model, settings = "vl-rethinker", MINIATURES["models"]["vl-rethinker"]
    written = {}
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        train_miniature(model, settings, PROMPTS, tmp_path / name, seed=seed, recipe=recipe)
        written[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert written["one"] == written["two"]
    assert written["one"]["model.safetensors"] != written["other"]["model.safetensors"]


def test_failed_training_leaves_nothing(tmp_path):
    settings = MINIATURES["models"]["glm-4.1v"] | {"template": "no place for an image: {prompt}"}
    with pytest.raises(ValueError, match="image"):
        train_miniature("glm-4.1v", settings, PROMPTS, tmp_path / "glm", seed=1, recipe=SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", RECIPES)
def test_a_new_checkpoint_differs_from_the_committed_one_in_its_weights_only(model, built):
    _, net = loaded(model, built(model))
    save(model, net, built(model))
    names = {path.name for path in built(model).iterdir()}
    assert names == {path.name for path in (COMMITTED / model).iterdir()}
    for name in names - {"model.safetensors"}:
        assert (built(model) / name).read_bytes() == (COMMITTED / model / name).read_bytes(), name
    new, committed = (
        {name: (weight.shape, weight.dtype) for name, weight in load_file(file).items()}
        for file in (folder / "model.safetensors" for folder in (built(model), COMMITTED / model))
    )
    assert new == committed


@pytest.mark.parametrize("model", RECIPES)
def test_tokenizers_keep_every_text_and_are_made_for_the_replies(model, built):
    processor, _ = loaded(model, built(model))
    reply, odd = VOICES[model].reply(scene_of(1, "n02274259", 1)), "Über: 猫 🐈 \t <|nothing|>"
    for text in (reply, odd):
        ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert processor.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert len(processor.tokenizer(reply)["input_ids"]) < 60


@pytest.mark.parametrize("model", RECIPES)
def test_every_drawing_takes_the_same_number_of_tokens(model, built):
    settings = MINIATURES["models"][model]
    processor, _ = loaded(model, built(model))
    conversations = [
        chat.first_conversation(drawing(4, number), PROMPTS[0], settings) for number in range(12)
    ]
    assert len({chat.encode(processor, one)["input_ids"].shape for one in conversations}) == 1


def test_saving_keeps_the_logits(built):
    for model in ("kimi-vl", "internvl3.5"):
        processor, net = loaded(model, built(model))
        save(model, net, built(model))
        _, again = loaded(model, built(model))
        conversation = chat.first_conversation(
            drawing(1, 1), PROMPTS[0], MINIATURES["models"][model]
        )
        inputs = chat.encode(processor, conversation)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.copy_(parameter.to(torch.bfloat16))
            assert torch.equal(net(**inputs).logits, again(**inputs).logits)


def test_training_scenes_take_all_classes_in_turn_and_are_not_those_of_the_run():
    scenes = training_scenes(MINIATURES["seed"], 2 * len(NAMES))
    assert [scene.wnid for scene in scenes] == 2 * list(NAMES)
    drawn = {scene_of(MINIATURES["seed"], wnid, n) for wnid in NAMES for n in range(40)}
    assert not drawn & set(scenes)


def test_tokens_are_labelled_with_the_object_at_their_place():
    scene = scene_of(1, "n09444783", 2)
    found = objects_at(scene, 16).reshape(4, 4)
    for x, y, _ in places(scene):
        assert found[int(4 * y), int(4 * x)] == list(NAMES).index(scene.wnid)
    assert (found == len(NAMES)).any()
