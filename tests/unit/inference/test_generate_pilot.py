import io
import json

import polars as pl
import pytest
from noise import noise

import generate_responses
from generate_pilot import generate_pilot
from imagenet_think.core.schemas import IMAGES, RESPONSES

NAMES = [["a", "b", "c"], ["d", "e"]]


def jpeg(seed):
    data = io.BytesIO()
    noise(seed, 60, 50).save(data, "JPEG", quality=95)
    return data.getvalue()


@pytest.fixture
def block(tmp_path, tiny_checkpoint):
    """The arguments of `respond` for a block of two shards with five images."""
    files = []
    for shard, names in enumerate(NAMES):
        rows = [
            {
                "image_id": name,
                "wnid": "n01",
                "image": {"bytes": jpeg(ord(name)), "path": f"{name}.jpg"},
                "width": 60,
                "height": 50,
                "sha256": name * 64,
                "source_sha256": name * 64,
            }
            for name in names
        ]
        files.append(str(tmp_path / f"0{shard}.parquet"))
        pl.DataFrame(rows, schema=IMAGES).write_parquet(files[-1])
    return {
        "images": files,
        "journal": str(tmp_path / "journal"),
        "settings": {
            "model": {
                "key": "tiny",
                "family": "qwen2_5_vl",
                "repository": str(tiny_checkpoint("qwen2_5_vl")),
                "decoding": {"max_new_tokens": 6, "temperature": 0.0},
            },
            "prompt": {"id": "short", "text": "Describe."},
            "preparation": {"longest_side": 320},
            "length_policy": {
                "attempts": 1,
                "loop": {"longest_period": 8, "repeats": 4, "least_tokens": 32},
            },
            "seed": 1,
        },
        "inference": {
            "engine": "transformers",
            "device": "cpu",
            "attention": "auto",
            "dtype": "auto",
            "batch_size": 2,
            "engines": {},
        },
        "threads": 1,
        "canary": None,
    }


@pytest.fixture
def generated(tmp_path):
    """A function that returns the images in the journal, in the order in which they were made."""

    def read():
        lines = [
            json.loads(line)
            for path in sorted((tmp_path / "journal").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return [line["row"]["image_id"] for line in lines if line["kind"] == "response"]

    return read


def run_all(block, folder):
    outputs = [folder / f"0{shard}.parquet" for shard in range(2)]
    generate_responses.generate_responses(responses=[str(out) for out in outputs], **block)
    return outputs


def test_what_the_pilot_made_the_run_does_not_make_again(block, generated, tmp_path):
    pilot = tmp_path / "pilot.parquet"
    generate_pilot(responses=str(pilot), count=3, **block)
    rows = pl.read_parquet(pilot)
    assert rows.schema == RESPONSES
    assert sorted(generated()) == sorted(rows["image_id"])
    assert len(rows) == 3
    outputs = run_all(block, tmp_path / "run")
    assert sorted(generated()) == list("abcde")
    everything = pl.concat([pl.read_parquet(out) for out in outputs])
    assert everything.filter(pl.col("image_id").is_in(rows["image_id"].implode())).equals(rows)
    undisturbed = run_all(block | {"journal": str(tmp_path / "other")}, tmp_path / "undisturbed")
    for own, other in zip(outputs, undisturbed, strict=True):
        assert own.read_bytes() == other.read_bytes()


def test_what_the_run_made_the_pilot_does_not_make_again(block, generated, tmp_path, monkeypatch):
    run_all(block, tmp_path / "run")
    monkeypatch.setattr(generate_responses, "_generate", lambda *a: pytest.fail("asked a model"))
    for name in ("one", "two"):
        generate_pilot(responses=str(tmp_path / name), count=3, **block)
    assert len(generated()) == 5
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_block_may_have_fewer_images(block, generated, tmp_path, caplog):
    generate_pilot(responses=str(tmp_path / "pilot.parquet"), count=100, **block)
    assert sorted(generated()) == list("abcde")
    assert "100 images wanted (pilot.images), the block has 5" in caplog.text


@pytest.fixture
def evaluated(tmp_path):
    """A file that names `b` and `d` as the images to ask about."""
    rows = pl.DataFrame({"image_id": ["b", "d"], "shard": ["00", "01"]})
    rows.write_parquet(tmp_path / "evaluated.parquet")
    return str(tmp_path / "evaluated.parquet")


def test_a_model_is_asked_about_the_evaluated_images_alone(block, evaluated, generated, tmp_path):
    generate_pilot(responses=str(tmp_path / "pilot"), count=1, evaluated=evaluated, **block)
    assert generated() == ["b"]
    generate_pilot(responses=str(tmp_path / "pilot"), count=9, evaluated=evaluated, **block)
    assert pl.read_parquet(tmp_path / "pilot")["image_id"].to_list() == ["b", "d"]
    some = run_all(block | {"evaluated": evaluated}, tmp_path / "some")
    assert [pl.read_parquet(path)["image_id"].to_list() for path in some] == [["b"], ["d"]]
    assert sorted(generated()) == ["b", "d"]
    # More are asked about later: only they are generated.
    everything = run_all(block, tmp_path / "all")
    assert sorted(generated()) == list("abcde")
    for own, other in zip(some, everything, strict=True):
        rows = pl.read_parquet(own)
        assert rows.equals(pl.read_parquet(other).join(rows, on="image_id", how="semi"))


def test_a_shard_without_evaluated_images_has_no_rows(block, tmp_path, generated):
    frame = pl.DataFrame({"image_id": ["d"], "shard": ["01"]})
    frame.write_parquet(tmp_path / "evaluated.parquet")
    some = run_all(block | {"evaluated": str(tmp_path / "evaluated.parquet")}, tmp_path / "some")
    assert [len(pl.read_parquet(path)) for path in some] == [0, 1]
    assert pl.read_parquet(some[0]).schema == RESPONSES
    assert generated() == ["d"]


def test_a_hub_model_without_revision_is_refused(block, tmp_path):
    block["settings"]["model"]["repository"] = "zai-org/GLM-4.1V-9B-Thinking"
    with pytest.raises(ValueError, match=r"GLM-4.1V-9B-Thinking has no revision.*pin"):
        generate_pilot(responses=str(tmp_path / "pilot.parquet"), count=3, **block)
    assert not (tmp_path / "pilot.parquet").exists()
