import polars as pl
import pytest
from generation_runs import Echo

from imagenet_think.core.schemas import RESPONSES
from imagenet_think.inference import engines


def test_the_run_does_not_generate_the_pilots_responses_again(run, use, tmp_path):
    use(Echo())
    run()
    whole, run.folder = run.bytes, tmp_path / "with a pilot"
    pilot = use(Echo())
    rows = run.pilot(3)
    # Evenly spread over the block.
    assert pilot.keys == rows["image_id"].to_list() == ["c", "b", "d"]
    assert rows.schema == RESPONSES
    assert run.record["responses"] == 3
    assert 0 <= run.record["ready_seconds"] <= run.record["seconds"]
    rest = use(Echo())
    run()
    assert rest.keys == ["a", "f", "e"]
    assert run.bytes == whole


def test_the_pilot_does_not_generate_the_runs_responses_again(run, use, monkeypatch):
    use(Echo())
    run()
    monkeypatch.setattr(engines, "get", lambda name: pytest.fail("an engine was loaded"))
    assert run.pilot(3).equals(run.pilot(3))
    assert len(run.journaled) == 6


def test_a_block_may_have_fewer_images(run, use, caplog):
    use(Echo())
    assert run.pilot(100)["image_id"].to_list() == list("cabfde")
    assert "pilot.images is 100, but only 6 images" in caplog.text


def test_only_the_evaluated_images_are_shown(run, use):
    use(Echo())
    run.evaluate("a", "d")
    assert run.pilot(1)["image_id"].to_list() == run.journaled == ["a"]
    assert run.pilot(9)["image_id"].to_list() == ["a", "d"]
    some = run()
    assert some["image_id"].to_list() == sorted(run.journaled) == ["a", "d"]
    # If more are evaluated later, only they are generated.
    run.evaluated = None
    everything = run()
    assert sorted(run.journaled) == list("abcdef")
    assert some.equals(everything.filter(pl.col("image_id").is_in(["a", "d"])))
    # A shard without evaluated images has no rows.
    run.evaluate("d")
    run()
    first, second = map(pl.read_parquet, run.outputs)
    assert (len(first), len(second)) == (0, 1)
    assert first.schema == RESPONSES
