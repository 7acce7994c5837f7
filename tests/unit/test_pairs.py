import numpy as np
import polars as pl
import pytest

from imagenet_think.pairs import read_pairs, score_pairs
from imagenet_think.schemas import ANNOTATIONS, scores

TEACHERS, MODELS = ["glm", "kimi"], ["b", "a"]


def annotation(image, model, think="T", answer="A", status="ok"):
    think, answer = (None, None) if status != "ok" else (think, answer)
    full = f"{model} {image}" if status != "error" else None
    return dict(zip(ANNOTATIONS, (image, model, full, think, answer, status), strict=True))


@pytest.fixture
def write(tmp_path):
    def write(rows):
        paths = []
        for model in sorted({row["model"] for row in rows}):
            path = tmp_path / f"{model}.parquet"
            frame = pl.DataFrame([r for r in rows if r["model"] == model], schema=ANNOTATIONS)
            frame.write_parquet(path)
            paths.append(path)
        return paths

    return write


def everything():
    return [
        annotation(i, m, f"{m} thinks", f"{m} says")
        for i in "yx"
        for m in ["glm", "kimi", "a", "b"]
    ]


def lengths(candidates, references):
    """A metric one can check by eye: the texts' lengths."""
    return {
        "ours": np.array([len(text) for text in candidates], dtype=float),
        "theirs": np.array([len(text) for text in references], dtype=float),
    }


def test_a_row_for_every_image_model_and_part(write):
    pairs = read_pairs(write(everything()), TEACHERS, MODELS)
    keys = pairs.select("image_id", "model", "part").rows()
    assert keys == [
        (i, m, p) for i in ("x", "y") for m in ("b", "a") for p in ("full", "think", "answer")
    ]
    assert pairs.row(0) == ("x", "b", "full", "b x", "glm x", "kimi x")
    assert pairs.row(4) == ("x", "a", "think", "a thinks", "glm thinks", "kimi thinks")


def test_teachers_keep_their_places(write):
    pairs = read_pairs(write(everything()), TEACHERS[::-1], MODELS)
    assert pairs.row(0)[4:] == ("kimi x", "glm x")


def test_unparsed_responses_keep_their_full_text_only(write):
    rows = [row for row in everything() if (row["image_id"], row["model"]) != ("x", "b")]
    rows.append(annotation("x", "b", status="no_answer"))
    pairs = read_pairs(write(rows), TEACHERS, MODELS)
    assert pairs["text"].to_list()[:3] == ["b x", None, None]


@pytest.mark.parametrize("full", [None, "", " \n"])
def test_no_text_is_not_scored(write, full):
    rows = everything()
    rows[0]["full"] = full  # teacher 1, image y
    pairs = read_pairs(write(rows), TEACHERS, MODELS)
    frame = score_pairs(pairs, lengths, ["ours"], images=1)
    nulls = frame.filter(pl.col("ours_1").is_null())
    assert nulls.select("image_id", "part").unique().rows() == [("y", "full")]
    assert frame["ours_2"].null_count() == 0


def test_a_missing_row_is_named(write):
    rows = [row for row in everything() if (row["image_id"], row["model"]) != ("y", "a")]
    with pytest.raises(ValueError, match=r"annotations of a lack 1 of 2 images.*being y"):
        read_pairs(write(rows), TEACHERS, MODELS)


def test_a_row_that_appears_twice_is_named(write):
    with pytest.raises(ValueError, match="annotations of a: image x appears more than once"):
        read_pairs(write([*everything(), annotation("x", "a")]), TEACHERS, MODELS)


def test_scores_stand_in_their_rows_and_columns(write):
    rows = everything()
    rows[2]["status"] = "no_answer"  # model a, image y
    pairs = read_pairs(write(rows), TEACHERS, MODELS)
    frame = score_pairs(pairs, lengths, ["ours", "theirs"], images=1)
    assert frame.columns == [
        "image_id",
        "model",
        "part",
        "ours_1",
        "ours_2",
        "theirs_1",
        "theirs_2",
    ]
    for pair, row in zip(pairs.rows(named=True), frame.rows(named=True), strict=True):
        assert (pair["text"] is None) == (
            pair["image_id"] == "y" and pair["model"] == "a" and pair["part"] != "full"
        )
        for k in (1, 2):
            if pair["text"] is None:
                assert row[f"ours_{k}"] is None
                assert row[f"theirs_{k}"] is None
            else:
                assert row[f"ours_{k}"] == len(pair["text"])
                assert row[f"theirs_{k}"] == len(pair[f"text_{k}"])


def test_any_number_of_images_at_once_gives_the_same(write):
    pairs = read_pairs(write(everything()), TEACHERS, MODELS)
    one, many = (score_pairs(pairs, lengths, ["ours"], images=images) for images in (1, 9))
    assert one.equals(many)


def test_shares_of_tokens_seen(write):
    def seen(candidates, references):
        return {
            "sbert": np.ones(len(candidates)),
            "seen_candidate": np.array([0.1 * len(text) for text in candidates]),
            "seen_reference": np.array([0.01 * len(text) for text in references]),
        }

    rows = everything()
    rows[4]["full"] = None  # teacher 1, image x
    pairs = read_pairs(write(rows), TEACHERS, MODELS)
    frame = score_pairs(pairs, seen, ["sbert"], images=2)
    assert frame.schema == scores("sbert")
    first = frame.row(0, named=True)
    assert first["sbert_1"] is None
    assert first["seen"] == pytest.approx(0.3)
    assert first["seen_1"] is None
    assert first["seen_2"] == pytest.approx(0.06)


def test_a_shard_without_images(write, tmp_path):
    paths = []
    for model in [*TEACHERS, *MODELS]:
        paths.append(tmp_path / f"{model}.parquet")
        pl.DataFrame(schema=ANNOTATIONS).write_parquet(paths[-1])
    frame = score_pairs(read_pairs(paths, TEACHERS, MODELS), lengths, ["ours"], images=4)
    assert frame.shape == (0, 5)
    assert frame.schema["ours_1"] == pl.Float64
