import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from account_responses import COUNTS, REASONS, AccountError, account, account_responses, count
from imagenet_think.core import schemas
from imagenet_think.parsing import FINISHED
from imagenet_think.parsing.outcomes import EXCLUSIONS, FAILURES, STATUSES

MODELS = ["b", "a"]
ERRORS = {
    "unreadable_image": "image cannot be read: cannot identify image file",
    "image_dropped": "no image token in the model's inputs: the chat template dropped the image",
    "image_token": "the user text holds the model's image token <|image|>",
    "aspect_ratio": "the processor refuses: absolute aspect ratio must be smaller than 200",
    "context": "the prompt has 70000 tokens, and the model's context 65536",
    "memory": "out of memory, alone, at 70000 tokens",
    "not_imported": "no response in too long a context.parquet",
    "refused": "status 400",
}


def end(status, image_id, model, error=None, **changes):
    """Return a response's row and its annotation's."""
    reason = next((r for r, s in FINISHED.items() if s == status and s != "ok"), "stop")
    response = dict.fromkeys(schemas.RESPONSES) | {
        "image_id": image_id,
        "model": model,
        "revision": f"revision of {model}",
        "prompt_id": "p",
        "finish_reason": reason,
        "rounds": 1,
        "forced": False,
        "attempt": 1,
        "fingerprint": f"{model}/{image_id}",
        "error": error,
    }
    annotation = {"image_id": image_id, "model": model, "status": status}
    return response | changes, annotation


def frames(ends):
    responses = pl.DataFrame([row for row, _ in ends], schema=schemas.RESPONSES)
    annotations = pl.DataFrame([row for _, row in ends], schema=schemas.ANNOTATIONS)
    return responses, annotations


@pytest.fixture
def run():
    """The frames of a run without failures: three images and two models."""
    ends = [end("ok", image, model) for model in MODELS for image in "xyz"]
    return pl.Series(["x", "y", "z"]), *frames(ends)


def account_all(sample, responses, annotations):
    """Account for models that are all prompted with the whole sample."""
    return account(dict.fromkeys(MODELS, sample), responses, annotations)


reasons = st.one_of(
    st.sampled_from([status for status in STATUSES if status != "error"]).map(lambda s: (s, None)),
    st.sampled_from(list(ERRORS.values())).map(lambda error: ("error", error)),
)
rows = st.tuples(reasons, st.integers(1, 3), st.booleans(), st.integers(0, 2))


@settings(deadline=None)
@given(st.lists(st.tuples(rows, rows), max_size=12))
def test_the_counts_add_up_for_any_run(images):
    sample = pl.Series([f"i{n}" for n in range(len(images))], dtype=pl.String)
    ends = [
        end(status, image, model, error, attempt=attempt, forced=forced, rounds=rounds)
        for image, by_model in zip(sample, images, strict=True)
        for model, ((status, error), attempt, forced, rounds) in zip(MODELS, by_model, strict=True)
    ]
    counts = count(account_all(sample, *frames(ends)), dict.fromkeys(MODELS, len(sample)))
    assert counts["model"].to_list() == MODELS
    for place, row in enumerate(counts.iter_rows(named=True)):
        expected = [by_model[place] for by_model in images]
        kept = [status for (status, _), *_ in expected]
        assert row["asked"] == len(sample) == row["done"] + row["failed"] + row["excluded"]
        assert row["done"] == kept.count("ok")
        assert row["excluded"] == kept.count("error")
        for status in FAILURES:
            assert row[f"failed_{status}"] == kept.count(status)
        for reason, error in ERRORS.items():
            assert row[f"excluded_{reason}"] == sum(e == error for (_, e), *_ in expected)
        assert sum(row[name] for name in REASONS) == row["failed"] + row["excluded"]
        assert row["retried"] == sum(attempt > 1 for _, attempt, *_ in expected)
        assert row["forced"] == sum(forced for *_, forced, _ in expected)
        assert row["two_rounds"] == sum(rounds > 1 for *_, rounds in expected)


def test_the_errors_cover_every_reason_of_exclusion():
    assert set(ERRORS) == set(EXCLUSIONS)


SAMPLE, RESPONSES, ANNOTATIONS = range(3)
IMAGE_X = (pl.col("model") == "a") & (pl.col("image_id") == "x")


def changed(column, value):
    """Return a function that changes a column in the row of model a and image x."""
    new = pl.when(IMAGE_X).then(pl.lit(value)).otherwise(column).alias(column)
    return lambda frame: frame.with_columns(new)


def without(frame):
    return frame.filter(~IMAGE_X)


def twice(frame):
    return pl.concat([frame, frame.filter(IMAGE_X)])


FAULTS = [
    (RESPONSES, without, r"a: 1 image \(x\) without response"),
    (ANNOTATIONS, without, r"a: 1 image \(x\) without annotation"),
    (RESPONSES, twice, r"a: 1 image \(x\) with more than one response"),
    (ANNOTATIONS, twice, r"a: 1 image \(x\) with more than one annotation"),
    (  # as many rows as there should be
        RESPONSES,
        changed("image_id", "y"),
        r"(?s)a: 1 image \(x\) without response.*a: 1 image \(y\) with more than one response",
    ),
    (
        SAMPLE,
        lambda sample: sample.filter(sample != "x"),
        r"a: 1 image \(x\) with a response, but not in the sample",
    ),
    (
        SAMPLE,
        lambda sample: sample.append(pl.Series(["x"])),
        r"a: 1 image \(x\) more than once in the sample",
    ),
    (RESPONSES, changed("model", "c"), "c: it has responses, but is not a model of this run"),
    *(
        (place, changed(column, value), rf"a: 1 image \(x\) {message}")
        for place, column, value, message in (
            (ANNOTATIONS, "status", "fine", "whose status is none of ok, "),
            (ANNOTATIONS, "status", None, "whose status is none of ok, "),
            (ANNOTATIONS, "status", "loop", "whose annotation contradicts the response"),
            (RESPONSES, "finish_reason", "eos", "whose finish_reason is none of stop, "),
            (RESPONSES, "finish_reason", None, "whose finish_reason is none of stop, "),
            (RESPONSES, "finish_reason", "length", "whose annotation contradicts the response"),
            (RESPONSES, "revision", "older", "with another revision than most"),
            (RESPONSES, "prompt_id", "q", "with another prompt_id than most"),
            (RESPONSES, "fingerprint", None, "without fingerprint"),
        )
    ),
    (
        RESPONSES,
        changed("fingerprint", "a/z"),
        r"a: 2 images \(x, z\) with the fingerprint of another image",
    ),
]


@pytest.mark.parametrize(("place", "spoil", "message"), FAULTS)
def test_each_inconsistency_is_reported(run, place, spoil, message):
    account_all(*run)
    frames = list(run)
    frames[place] = spoil(frames[place])
    with pytest.raises(AccountError, match=message):
        account_all(*frames)


def test_a_message_names_the_first_few_images_of_many():
    images = pl.Series([f"i{n}" for n in range(9)])
    responses, annotations = frames([end("ok", image, "a") for image in images])
    with pytest.raises(AccountError, match=r"a: 9 images \(i0, i1, i2, i3, i4, …\) without annot"):
        account({"a": images}, responses, annotations.clear())


def test_all_problems_are_reported_at_once(run):
    sample, responses, annotations = run
    with pytest.raises(AccountError) as error:
        account_all(sample, responses.filter(pl.col("image_id") != "y"), annotations)
    assert str(error.value).count("without response") == 2
    assert "is not generated again" in str(error.value)


def test_a_ledger_without_an_image_is_refused(run):
    ledger = account_all(*run)
    with pytest.raises(AccountError, match="do not add up"):
        count(ledger[1:], dict.fromkeys(MODELS, 3))


@pytest.fixture
def account_for(tmp_path):
    """Write a small run in several files and account for it; return table and page."""

    def write(images, evaluated, responses, annotations, matched=(), imported=(), **names):
        files = {
            "sample": [pl.DataFrame({"image_id": list(images)})],
            "evaluated": [pl.DataFrame({"image_id": list(evaluated)})],
            "responses": responses.partition_by("model", "rounds"),
            "annotations": annotations.partition_by("model", "status"),
        }
        for name, parts in files.items():
            for place, rows in enumerate(parts):
                rows.write_parquet(tmp_path / f"{name}{place}.parquet")
        (sample,), (evaluated,), *both = (sorted(tmp_path.glob(f"{name}*")) for name in files)
        models = {key: {"name": names.get(key, key.upper())} for key in "ba"}
        for key in imported:
            models[key]["responses"] = {"path": imported[key]}
        settings = {"run": "r", "teachers": ["b"], "benchmarked": ["a"], "models": models}
        account_responses(sample, evaluated, *both, matched, tmp_path / "out", settings)
        return pl.read_csv(tmp_path / "out.csv"), (tmp_path / "out.md").read_text()

    return write


@pytest.fixture
def mixed():
    """The frames of a run with six images: some done, some failed, some excluded."""
    ends = [end("ok", f"i{n}", model, rounds=1 + n % 2) for model in MODELS for n in range(4)]
    return frames(
        [
            *ends,
            end("cut_off", "i4", "a", attempt=2),
            end("error", "i5", "a", ERRORS["image_token"]),
            end("loop", "i4", "b", forced=True),
            end("error", "i5", "b", "what | nobody <b>foresaw</b>"),
        ]
    )


SIX = [f"i{n}" for n in range(6)]


def test_table_and_page_count_how_every_image_ended(mixed, account_for):
    table, page = account_for(SIX, SIX, *mixed, b="Model <B>")
    assert table.columns == ["model", *(column.name for column in COUNTS), *REASONS]
    assert table.select("model", "asked", "done", "failed", "excluded").rows() == [
        ("b", 6, 4, 1, 1),
        ("a", 6, 4, 1, 1),
    ]
    (b, a) = table.iter_rows(named=True)
    assert (a["failed_cut_off"], a["excluded_image_token"], a["retried"]) == (1, 1, 1)
    assert (b["failed_loop"], b["excluded_refused"], b["forced"], b["two_rounds"]) == (1, 1, 1, 2)
    for words in (
        "| Model \\<B\\> | 6 | 4 | 1 | 1 | 66.67% | 0.00% | 0 | 1 | 2 |",
        "| failed: cut off | The generation reached its length limit. | 0 | 1 |",
        "- Model \\<B\\>, refused: 1 image (i5). The first error: what \\| nobody \\<b\\>foresaw",
    ):
        assert words in page
    assert "failed: no box" in page.split("| Reason |")[0]


@pytest.mark.parametrize("broken", range(5))
def test_the_share_of_broken_formats_is_counted_and_warned_of(account_for, broken):
    kinds = ["no_think", "empty_answer", "no_think", "no_box"][:broken]
    ends = [end("ok", f"i{n}", "b") for n in range(6)]
    ends += [end(status, f"i{n}", "a") for n, status in enumerate(kinds)]
    # Texts that were cut off could not keep the format, and the model gave none where it failed.
    ends += [end("ok", f"i{n}", "a") for n in range(broken, 4)]
    ends += [end("cut_off", "i4", "a"), end("error", "i5", "a", ERRORS["memory"])]
    table, page = account_for(SIX, SIX, *frames(ends), a="A*")
    assert table["share_broken"].to_list() == [0, broken / 4]
    warning = f"**Warning.** A\\* breaks its format in {broken / 4:.0%} of its finished texts."
    assert (warning in page) == ("Warning" in page) == (broken > 2)


def test_a_model_without_a_finished_text_has_no_share(account_for):
    ends = [end("ok", "x", "b"), end("loop", "x", "a")]
    table, _ = account_for("x", "x", *frames(ends))
    assert table["share_broken"].to_list() == [0, None]


def test_a_page_of_a_run_without_failures(run, account_for):
    _, page = account_for("xyz", "xyz", *run[1:])
    assert "Nothing failed, and nothing was excluded." in page
    assert "Excluded images" not in page


def test_only_teachers_are_prompted_with_images_that_are_not_evaluated(tmp_path, account_for):
    ends = [end("ok", image, "b") for image in "xyz"]
    ends += [end("ok", "x", "a", prompt_id=None), end("error", "z", "a", "no", prompt_id=None)]
    (tmp_path / "a.csv").write_text("by,images\nname,0\nsha256,1\n")
    imported = {"a": "my|texts.parquet"}
    table, page = account_for("xyz", "xz", *frames(ends), [tmp_path / "a.csv"], imported)
    assert table.select("model", "asked", "done", "excluded").rows() == [
        ("b", 3, 3, 0),
        ("a", 2, 1, 1),
    ]
    assert "all 3 images of the sample, the other models the 2 on which they are scored" in page
    assert (
        "- A: my\\|texts.parquet; 0 images matched by name, 1 by the SHA-256 of their bytes "
        "(imported/a.csv)" in page
    )


def test_no_files_are_written_after_an_error(mixed, account_for, tmp_path):
    responses, annotations = mixed
    with pytest.raises(AccountError, match="without annotation"):
        account_for(SIX, SIX, responses, annotations[1:])
    assert not list(tmp_path.glob("out*"))
