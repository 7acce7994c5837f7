import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from account_responses import COUNTS, REASONS, AccountError, account, account_responses, count
from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
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
    """Three images and two models: the frames of a run in which all is well."""
    ends = [end("ok", image, model) for model in MODELS for image in "xyz"]
    return pl.Series(["x", "y", "z"]), *frames(ends)


def account_all(sample, responses, annotations):
    """Account for models that are all prompted with the whole sample."""
    return account(dict.fromkeys(MODELS, sample), responses, annotations)


reasons = st.one_of(
    st.sampled_from([status for status in STATUSES if status != "error"]).map(lambda s: (s, None)),
    st.sampled_from(list(ERRORS.values())).map(lambda error: ("error", error)),
)
ledgers = st.integers(0, 12).flatmap(
    lambda images: st.lists(
        st.lists(
            st.tuples(reasons, st.integers(1, 3), st.booleans(), st.integers(0, 2)),
            min_size=images,
            max_size=images,
        ),
        min_size=len(MODELS),
        max_size=len(MODELS),
    )
)


@settings(deadline=None)
@given(ledgers)
def test_the_sums_close_for_any_run(ledger):
    sample = pl.Series([f"i{n}" for n in range(len(ledger[0]))], dtype=pl.String)
    ends = [
        end(status, image, model, error, attempt=attempt, forced=forced, rounds=rounds)
        for model, rows in zip(MODELS, ledger, strict=True)
        for image, ((status, error), attempt, forced, rounds) in zip(sample, rows, strict=True)
    ]
    counts = count(account_all(sample, *frames(ends)), dict.fromkeys(MODELS, len(sample)))
    assert counts["model"].to_list() == MODELS
    for row, expected in zip(counts.iter_rows(named=True), ledger, strict=True):
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


def test_every_reason_has_an_error_here():
    assert set(ERRORS) == set(EXCLUSIONS)


def changed(frame, model, image, **columns):
    here = (pl.col("model") == model) & (pl.col("image_id") == image)
    return frame.with_columns(
        pl.when(here).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in columns.items()
    )


def without(frame, model, image):
    return frame.filter(~((pl.col("model") == model) & (pl.col("image_id") == image)))


FAULTS = {
    "a response is missing": (
        lambda s, r, n: (s, without(r, "a", "y"), n),
        r"a: 1 image \(y\) without response",
    ),
    "an annotation is missing": (
        lambda s, r, n: (s, r, without(n, "b", "z")),
        r"b: 1 image \(z\) without annotation",
    ),
    "both are missing": (
        lambda s, r, n: (s, without(r, "b", "z"), without(n, "b", "z")),
        r"(?s)b: 1 image \(z\) without response.*b: 1 image \(z\) without annotation",
    ),
    "a model has nothing": (
        lambda s, r, n: (s, r.filter(pl.col("model") == "b"), n),
        r"a: 3 images \(x, y, z\) without response",
    ),
    "a response is there twice": (
        lambda s, r, n: (s, pl.concat([r, r[:1]]), n),
        r"b: 1 image \(x\) with more than one response",
    ),
    "a response under two fingerprints": (
        lambda s, r, n: (s, pl.concat([r, r[:1].with_columns(fingerprint=pl.lit("other"))]), n),
        r"b: 1 image \(x\) with more than one response",
    ),
    "an annotation is there twice": (
        lambda s, r, n: (s, r, pl.concat([n, n[4:5]])),
        r"a: 1 image \(y\) with more than one annotation",
    ),
    "one missing and one twice, so that the number is right": (
        lambda s, r, n: (s, pl.concat([without(r, "a", "x"), r[4:5]]), n),
        r"(?s)a: 1 image \(x\) without response.*a: 1 image \(y\) with more than one response",
    ),
    "an image that was not asked": (
        lambda s, r, n: (s.filter(s != "y"), r, n),
        r"a: 1 image \(y\) with a response, but not in the sample",
    ),
    "a model that was not asked": (
        lambda s, r, n: (s, pl.concat([r, r[:1].with_columns(model=pl.lit("c"))]), n),
        "c: it has responses, but is not a model of this run",
    ),
    "an image twice in the sample": (
        lambda s, r, n: (s.append(pl.Series(["x"])), r, n),
        r"a: 1 image \(x\) more than once in the sample",
    ),
    "an unknown status": (
        lambda s, r, n: (s, r, changed(n, "a", "x", status="fine")),
        r"a: 1 image \(x\) whose status is none of ok, ",
    ),
    "no status": (
        lambda s, r, n: (s, r, changed(n, "a", "x", status=None)),
        r"a: 1 image \(x\) whose status is none of ok, ",
    ),
    "an unknown finish reason": (
        lambda s, r, n: (s, changed(r, "a", "x", finish_reason="eos"), n),
        r"a: 1 image \(x\) whose finish_reason is none of stop, ",
    ),
    "no finish reason": (
        lambda s, r, n: (s, changed(r, "a", "x", finish_reason=None), n),
        r"a: 1 image \(x\) whose finish_reason is none of stop, ",
    ),
    "done, though cut off": (
        lambda s, r, n: (s, changed(r, "a", "x", finish_reason="length"), n),
        r"a: 1 image \(x\) whose annotation contradicts the response",
    ),
    "a loop that came to its end": (
        lambda s, r, n: (s, r, changed(n, "a", "x", status="loop")),
        r"a: 1 image \(x\) whose annotation contradicts the response",
    ),
    "an error that was parsed": (
        lambda s, r, n: (s, changed(r, "a", "x", finish_reason="error"), n),
        r"a: 1 image \(x\) whose annotation contradicts the response",
    ),
    "another revision": (
        lambda s, r, n: (s, changed(r, "a", "z", revision="older"), n),
        r"a: 1 image \(z\) with another revision than most",
    ),
    "another prompt": (
        lambda s, r, n: (s, changed(r, "a", "z", prompt_id="q"), n),
        r"a: 1 image \(z\) with another prompt_id than most",
    ),
    "no fingerprint": (
        lambda s, r, n: (s, changed(r, "a", "z", fingerprint=None), n),
        r"a: 1 image \(z\) without fingerprint",
    ),
    "another image's fingerprint": (
        lambda s, r, n: (s, changed(r, "a", "z", fingerprint="a/x"), n),
        r"a: 2 images \(x, z\) with the fingerprint of another image",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_add_up_is_named(run, fault):
    account_all(*run)
    spoil, message = FAULTS[fault]
    with pytest.raises(AccountError, match=message):
        account_all(*spoil(*run))


def test_a_message_names_the_first_few_images_of_many():
    images = pl.Series([f"i{n}" for n in range(9)])
    responses, annotations = frames([end("ok", image, "a") for image in images])
    with pytest.raises(AccountError, match=r"a: 9 images \(i0, i1, i2, i3, i4, …\) without annot"):
        account({"a": images}, responses, annotations.clear())


def test_all_faults_are_reported_at_once(run):
    sample, responses, annotations = run
    responses = without(without(responses, "a", "x"), "b", "y")
    with pytest.raises(AccountError) as error:
        account_all(sample, responses, annotations)
    assert str(error.value).count("without response") == 2
    assert "is not generated again" in str(error.value)


def test_a_ledger_that_lacks_an_image_is_refused(run):
    ledger = account_all(*run)
    with pytest.raises(AccountError, match="do not add up"):
        count(ledger[1:], dict.fromkeys(MODELS, 3))


@pytest.fixture
def files(tmp_path):
    """A run in files, two shards a model: some done, some failed, some excluded."""
    ends = [end("ok", f"i{n}", model, rounds=1 + n % 2) for model in MODELS for n in range(4)]
    ends += [
        end("cut_off", "i4", "a", attempt=2),
        end("error", "i5", "a", ERRORS["image_token"]),
        end("loop", "i4", "b", forced=True),
        end("error", "i5", "b", "what | nobody <b>foresaw</b>"),
    ]
    responses, annotations = frames(ends)
    sample = pl.DataFrame({"image_id": [f"i{n}" for n in range(6)]})
    write_parquet(
        pl.concat([schemas.SAMPLE.to_frame(), sample], how="diagonal"),
        tmp_path / "sample.parquet",
        schemas.SAMPLE,
    )
    evaluated = sample.select("image_id", pl.lit("00").alias("shard"))
    write_parquet(evaluated, tmp_path / "evaluated.parquet", schemas.EVALUATED)
    paths = {name: tmp_path / f"{name}.parquet" for name in ("sample", "evaluated")}
    for name, frame, schema in (
        ("responses", responses, schemas.RESPONSES),
        ("annotations", annotations, schemas.ANNOTATIONS),
    ):
        paths[name] = []
        for (model, odd), rows in frame.group_by(
            "model", pl.col("image_id").str.tail(1).cast(pl.Int64) % 2, maintain_order=True
        ):
            paths[name].append(tmp_path / name / model / f"0{odd}.parquet")
            write_parquet(rows, paths[name][-1], schema)
    return paths


def test_the_files_say_where_every_image_went(files, tmp_path):
    names = {"b": "Model <B>", "a": "Model A"}
    stem = tmp_path / "accounting"
    files |= {"stem": stem, "matched": []}
    account_responses(**files, run="test_run", names=names, teachers=["b"], imported={})
    table = pl.read_csv(tmp_path / "accounting.csv")
    assert table.columns == ["model", *(column.name for column in COUNTS), *REASONS]
    assert table.select("model", "asked", "done", "failed", "excluded").rows() == [
        ("b", 6, 4, 1, 1),
        ("a", 6, 4, 1, 1),
    ]
    (b, a) = table.iter_rows(named=True)
    assert (a["failed_cut_off"], a["excluded_image_token"], a["retried"]) == (1, 1, 1)
    assert (b["failed_loop"], b["excluded_refused"], b["forced"], b["two_rounds"]) == (1, 1, 1, 2)
    page = (tmp_path / "accounting.md").read_text()
    assert "| Model \\<B\\> | 6 | 4 | 1 | 1 | 66.67% | 0 | 1 | 2 |" in page
    assert "| failed: cut off | The generation reached its length limit. | 0 | 1 |" in page
    assert "failed: no box" in page.split("| Reason |")[0]
    assert (
        "- Model \\<B\\>, refused: 1 image (i5). The first error: what \\| nobody \\<b\\>foresaw"
        in page
    )


@pytest.fixture
def account_for(tmp_path):
    """Write a small run and account for it; return the stem of what was written."""

    def write(images, evaluated, responses, annotations, matched=(), **arguments):
        sample = pl.DataFrame({"image_id": list(images), "shard": "00"})
        evaluated = sample.filter(pl.col("image_id").is_in(list(evaluated)))
        frames = {
            "SAMPLE": pl.concat([schemas.SAMPLE.to_frame(), sample], how="diagonal"),
            "EVALUATED": evaluated,
            "RESPONSES": responses,
            "ANNOTATIONS": annotations,
        }
        paths = {name: str(tmp_path / f"{name}.parquet") for name in frames}
        for name, frame in frames.items():
            write_parquet(frame, paths[name], getattr(schemas, name))
        sample, evaluated, responses, annotations = paths.values()
        account_responses(
            *(sample, evaluated, [responses], [annotations], matched, tmp_path / "out"),
            **{"run": "r", "names": {"b": "B", "a": "A"}, "teachers": ["b"]} | arguments,
        )
        return tmp_path / "out"

    return write


def test_a_page_without_faults_says_so(run, account_for):
    _, responses, annotations = run
    out = account_for("xyz", "xyz", responses, annotations, imported={})
    page = out.with_suffix(".md").read_text()
    assert "Nothing failed, and nothing was excluded." in page
    assert "Excluded images" not in page


def test_only_teachers_are_prompted_with_images_that_are_not_evaluated(tmp_path, account_for):
    ends = [end("ok", image, "b") for image in "xyz"]
    ends += [end("ok", "x", "a", prompt_id=None), end("error", "z", "a", "no", prompt_id=None)]
    (tmp_path / "a.csv").write_text("by,images\nname,0\nsha256,1\n")
    imported = {"a": "my|texts.parquet"}
    account_for("xyz", "xz", *frames(ends), [tmp_path / "a.csv"], imported=imported)
    table = pl.read_csv(tmp_path / "out.csv")
    assert table.select("model", "asked", "done", "excluded").rows() == [
        ("b", 3, 3, 0),
        ("a", 2, 1, 1),
    ]
    page = (tmp_path / "out.md").read_text()
    assert "all 3 images of the sample, the other models the 2 on which they are scored" in page
    assert (
        "- A: my\\|texts.parquet; 0 images matched by name, 1 by the SHA-256 of their bytes "
        "(imported/a.csv)" in page
    )


def test_a_fault_leaves_no_files(files, tmp_path):
    files["annotations"].pop()
    with pytest.raises(AccountError, match="without annotation"):
        account_responses(
            **files,
            matched=[],
            stem=tmp_path / "accounting",
            run="r",
            names={"a": "A", "b": "B"},
            teachers=["a"],
            imported={},
        )
    assert not list(tmp_path.glob("accounting*"))
