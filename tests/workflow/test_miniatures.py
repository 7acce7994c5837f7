import csv
from pathlib import Path

import pytest
import torch
import yaml

from imagenet_think.miniature.drawings import COLOURS, NAMES, scene_of
from imagenet_think.miniature.recipes import RECIPES
from measure_miniatures import measure_miniature
from train_miniature import training_scenes

# One worker measures for all tests.

CONFIG = yaml.safe_load(Path("config/miniature.yaml").read_text(encoding="utf-8"))
FOLDER = Path("resources/miniatures")
# As in rules/miniature.smk.
DRAWINGS, SEED = 240, 90210


@pytest.fixture(scope="module")
def measured():
    torch.set_num_threads(1)
    return {
        model: measure_miniature(
            model,
            CONFIG["models"][model],
            prompt=CONFIG["prompts"][CONFIG["prompt"]],
            checkpoint=FOLDER / model,
            drawings=DRAWINGS,
            seed=SEED,
        )
        for model in CONFIG["models"]
    }


def test_measured_drawings_were_never_seen_in_training_nor_in_the_run():
    wnids = list(NAMES)
    unseen = {scene_of(SEED, wnids[n % len(wnids)], n) for n in range(DRAWINGS)}
    most = max(recipe.drawings for recipe in RECIPES.values())
    assert not unseen & set(training_scenes(CONFIG["seed"], most))
    source = CONFIG["images"]["source"]
    per_class = source["drawings_per_class"] + len(wnids) * source["drawings_step"]
    assert not unseen & {scene_of(CONFIG["seed"], w, n) for w in wnids for n in range(per_class)}
    assert {scene.clutter for scene in unseen} > {"none"}


@pytest.mark.parametrize("model", CONFIG["models"])
def test_checkpoint_is_small_enough_for_git(model):
    assert sum(path.stat().st_size for path in (FOLDER / model).iterdir()) <= 4e6


@pytest.mark.slow
@pytest.mark.parametrize("model", CONFIG["teachers"])
def test_teachers_name_object_and_colour(model, measured):
    assert measured[model]["drawings"] >= 200
    assert measured[model]["object"] >= 0.90
    assert measured[model]["colour"] >= 0.95


@pytest.mark.slow
def test_students_differ(measured):
    objects = sorted(measured[model]["object"] for model in CONFIG["benchmarked"])
    assert objects[-1] - objects[0] >= 0.1
    assert objects[0] > 2 / len(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("model", CONFIG["models"])
def test_swapped_images_leave_chance(model, measured):
    assert measured[model]["object_swapped"] <= 1 / len(NAMES) + 0.06
    assert measured[model]["colour_swapped"] <= 1 / len(COLOURS) + 0.08


@pytest.mark.slow
@pytest.mark.parametrize("model", CONFIG["models"])
def test_recorded_accuracies_are_those_measured(model, measured):
    with (FOLDER / "accuracy.csv").open(encoding="utf-8") as file:
        (row,) = (row for row in csv.DictReader(file) if row["model"] == model)
    for column in list(row)[2:]:
        # Another processor may round a logit otherwise and turn one answer in a hundred.
        assert float(row[column]) == pytest.approx(measured[model][column], abs=0.02)


@pytest.mark.slow
def test_visionthink_requests_some_images(measured):
    assert 0.2 < measured["visionthink"]["second_rounds"] < 0.8
