from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.scored_shards import TEACHERS, write_shard

from imagenet_think.core.schemas import ANNOTATIONS
from imagenet_think.metrics.pairs import KEYS, partners, read_texts
from imagenet_think.parsing import PARTS

MODELS = ["b", "a"]
CLASSES = {"x1": "x", "x2": "x", "y1": "y", "y2": "y", "z1": "z"}


@pytest.fixture
def texts():
    return {
        (image, model): (f"{model} thinks {image}", f"{model} says {image}")
        for image in CLASSES
        for model in [*TEACHERS, *MODELS]
    }


def compared(shard):
    """Return (image, model, part, against) to both texts."""
    pairs = shard.pairs()
    text, other = (pairs.texts.gather(pairs.rows[name]) for name in ("text", "other"))
    keys = pairs.rows.select(*KEYS, "against").rows()
    assert len(set(keys)) == len(keys)
    assert pairs.rows["row"].to_list() == list(range(len(keys)))
    return dict(zip(keys, zip(text, other, strict=True), strict=True))


def test_every_response_is_compared_with_both_teachers(tmp_path, texts):
    found = compared(write_shard(tmp_path, texts, CLASSES, models=MODELS))
    for image in CLASSES:
        for model in MODELS:
            for place, teacher in enumerate(TEACHERS, start=1):
                against = f"teacher_{place}"
                assert found[image, model, "think", against] == (
                    f"{model} thinks {image}",
                    f"{teacher} thinks {image}",
                )
                assert found[image, model, "full", against][0].startswith(f"{model} thinks")
    assert sum(key[1] in MODELS for key in found) == len(CLASSES) * 2 * 3 * 2


def test_the_teachers_are_compared_with_each_other_and_with_themselves(tmp_path, texts):
    found = compared(write_shard(tmp_path, texts, CLASSES, models=MODELS))
    by_teachers = {key: pair for key, pair in found.items() if key[1] in TEACHERS}
    for (image, model, part, against), (text, other) in by_teachers.items():
        assert text.split()[0] == model
        about = other.split()[-1]
        assert other.split()[0] == ("kimi" if against == "teacher_2" else model), part
        if against == "teacher_2":
            assert (model, about) == ("glm", image)
        elif against == "same_class":
            assert about != image
            assert CLASSES[about] == CLASSES[image]
        else:
            assert CLASSES[about] != CLASSES[image]
    # A pair of x and one of y, by two teachers in three parts; z has one image.
    counts = {a: sum(key[3] == a for key in by_teachers) for a in ("same_class", "other_class")}
    assert counts == {"same_class": 2 * 2 * 3, "other_class": 2 * 2 * 3}


def test_only_evaluated_images_are_scored(tmp_path, texts):
    texts = {k: v for k, v in texts.items() if k[1] in TEACHERS or k[0] in ("y1", "x2")}
    shard = write_shard(tmp_path, texts, CLASSES, models=MODELS, evaluated=["y1", "x2"])
    found = compared(shard)
    assert {key[0] for key in found if key[1] in MODELS} == {"y1", "x2"}
    assert {key[0] for key in found if key[1] in TEACHERS} == set(CLASSES)


def test_what_cannot_be_scored_keeps_its_row(tmp_path, texts):
    texts["x1", "a"] = None
    pairs = write_shard(tmp_path, texts, CLASSES, models=MODELS).pairs()
    lost = pairs.rows.join(pairs.scorable(), on="row", how="anti")
    assert set(lost.select(*KEYS).rows()) == {("x1", "a", "think"), ("x1", "a", "answer")}


def test_blank_full_texts_are_not_scored(tmp_path):
    rows = [
        ("x", "a", " \n", None, None, *3 * ["no_think"]),
        ("y", "a", None, None, None, *3 * ["error"]),
    ]
    pl.DataFrame(rows, schema=ANNOTATIONS, orient="row").write_parquet(tmp_path / "a.parquet")
    assert read_texts(tmp_path / "a.parquet")["text"].null_count() == 6


def test_each_part_is_scored_where_it_is_known(tmp_path):
    rows = [
        ("x", "a", "A", None, "A", "no_think", "no_think", "ok"),
        ("y", "a", "T\nA", "T", "A", "cut_off", "ok", "cut_off"),
        ("z", "a", "T\nA", "T", "A", "several_thinks", "several_thinks", "ok"),
    ]
    pl.DataFrame(rows, schema=ANNOTATIONS, orient="row").write_parquet(tmp_path / "a.parquet")
    found = read_texts(tmp_path / "a.parquet").drop_nulls("text")
    assert sorted(found.select("image_id", "part", "text").rows()) == [
        *(("x", "answer", "A"), ("x", "full", "A")),
        *(("y", "full", "T\nA"), ("y", "think", "T")),
        *(("z", "answer", "A"), ("z", "full", "T\nA")),
    ]


@pytest.mark.parametrize("model", ["glm", "a"])
def test_a_missing_row_is_an_error_that_names_it(tmp_path, texts, model):
    del texts["y2", model]
    with pytest.raises(ValueError, match=rf"annotations of {model}: 1 of 5 images .* y2: generate"):
        write_shard(tmp_path, texts, CLASSES, models=MODELS).pairs()


def test_a_duplicate_row_is_an_error(tmp_path, texts):
    shard = write_shard(tmp_path, texts, CLASSES, models=MODELS)
    twice = replace(shard, annotations=[*shard.annotations, shard.annotations[0]])
    with pytest.raises(ValueError, match="glm: image x1 appears more than once"):
        twice.pairs()


def test_batches_hold_whole_images_and_everything_once(tmp_path, texts):
    none = write_shard(tmp_path / "none", {}, {}, models=MODELS).pairs()
    assert (len(none.rows), list(none.batches(4))) == (0, [])
    pairs = write_shard(tmp_path, texts, CLASSES, models=MODELS).pairs()
    for images in (1, 2, 3, 9):
        batches = list(pairs.batches(images))
        assert pl.concat([batch.rows for batch in batches]).equals(pairs.rows)
        assert [batch.rows["image_id"].n_unique() for batch in batches[:-1]] == [images] * (
            len(batches) - 1
        )


def test_one_text_in_many_pairs_is_one_object(tmp_path, texts):
    pairs = write_shard(tmp_path, texts, CLASSES, models=MODELS).pairs()
    candidates, references = pairs.columns(pairs.rows)
    objects = {id(text) for text in [*candidates, *references]}
    assert len(objects) == len(CLASSES) * 4 * len(PARTS)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 3))
def test_partners(classes, seed):
    frame = pl.DataFrame(
        {"image_id": [f"i{k}" for k in range(len(classes))], "wnid": [str(c) for c in classes]}
    )
    wnid = dict(frame.iter_rows())
    found = partners(frame, seed)
    assert sorted(found["image_id"]) == sorted(wnid)
    rows = found.drop_nulls("same_class")
    assert rows["other_class"].null_count() == 0
    for image, _, same, other in rows.iter_rows():
        assert same != image
        assert wnid[same] == wnid[image]
        assert wnid[other] != wnid[image]
    # Pairs are disjoint: every image in one at most.
    inside = [*rows["image_id"], *rows["same_class"]]
    assert len(set(inside)) == len(inside)
    assert not set(rows["other_class"]) & set(rows["image_id"])
    sizes = Counter(wnid.values())
    pairs = [size // 2 for size in sizes.values() if size > 1]
    assert len(rows) == (sum(pairs) if len(pairs) > 1 else 0)
    again = partners(frame.sample(fraction=1, shuffle=True, seed=1), seed)
    assert again.equals(found)
