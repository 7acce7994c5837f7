import re

import pytest
import torch
from scored_shards import write_shard
from tiny_encoders import MINILM

from imagenet_think.core.schemas import PRECISION
from imagenet_think.metrics import registry
from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.encoder import greatest_error
from imagenet_think.metrics.precision import PRECISIONS, arithmetic, check_precision
from imagenet_think.metrics.sbert import SentenceBert
from imagenet_think.report import definitions, table_captions
from measure_precision import measure_precision, some_pairs

SETTINGS = {"batch_size": 4, "max_tokens": 256}
TEXTS = ["An archer draws a wooden longbow.", "A quiet lighthouse above the sea."] * 2
ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def build(metric, **settings):
    layer = {"layer": 6} if metric is BertScore else {}
    return metric(MINILM, **layer, **SETTINGS, **settings)


@pytest.mark.parametrize("precision", ["tf32", "float16"])
@pytest.mark.parametrize(("metric", "name"), [(BertScore, "bertscore"), (SentenceBert, "sbert")])
def test_less_than_float32_needs_a_gpu(metric, name, precision):
    message = rf"{name}\.precision is {precision}, which needs a GPU .* device is cpu: set {name}"
    with pytest.raises(ValueError, match=message):
        build(metric, precision=precision, device="cpu")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpu_computes_in_each_precision(precision):
    check_precision("sbert", precision, "cuda:1")


@pytest.mark.parametrize("outside", ["highest", "high"])
def test_tf32_is_on_only_where_requested(outside):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(outside)
    try:
        for precision in PRECISIONS:
            with arithmetic(precision, "cpu"):
                allowed = torch.backends.cuda.matmul.allow_tf32
                assert allowed == (precision == "tf32")
                assert torch.is_autocast_enabled("cpu") == (precision == "float16")
            assert torch.get_float32_matmul_precision() == outside
        with pytest.raises(RuntimeError), arithmetic("tf32", "cpu"):
            raise RuntimeError
        assert torch.get_float32_matmul_precision() == outside
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("metric", [BertScore, SentenceBert])
def test_the_error_of_half_precision_is_measured(metric):
    """The CPU rounds to half precision too, slowly: what the encoder's error is made of."""
    score = build(metric, device="cpu")
    assert set(greatest_error(score, TEXTS, TEXTS[::-1]).values()) == {0.0}
    exact = score(TEXTS, TEXTS[::-1])
    score.precision = "float16"
    errors = greatest_error(score, TEXTS, TEXTS[::-1])
    halved = score(TEXTS, TEXTS[::-1])
    for name, error in errors.items():
        assert error == max(abs(halved[name] - exact[name]))
    name = "f1" if metric is BertScore else "sbert"
    assert 0 < errors[name] < 5e-3
    assert errors["seen_candidate"] == 0
    assert score.precision == "float16"


def test_no_pair_has_no_error():
    score = build(SentenceBert, device="cpu")
    score.precision = "float16"
    assert greatest_error(score, [], [])["sbert"] == 0


def test_the_error_is_measured_on_pairs_of_the_run(tmp_path):
    texts = {
        (image, model): (f"{think} {image}", answer)
        for image in ("i1", "i2", "i3")
        for model, think, answer in (
            ("glm", TEXTS[0], "a bow"),
            ("kimi", TEXTS[1], "a tower"),
            ("m", TEXTS[0], "a bow and an arrow"),
        )
    }
    classes = {"i1": "a", "i2": "a", "i3": "b"}
    shard = write_shard(tmp_path, texts, classes, models=["m"], metric="bertscore")
    scorable = len(shard.pairs().scorable())
    candidates, references = some_pairs([shard, shard], 10)
    assert len(candidates) == len(references) == 10
    assert len(some_pairs([shard, shard], scorable + 5)[0]) == scorable + 5
    assert len(some_pairs([shard], scorable + 5)[0]) == scorable
    encoder = build(BertScore, device="cpu")
    encoder.precision = "float16"  # as if on a GPU
    frame = measure_precision(registry.get("bertscore"), encoder, [shard])
    assert frame.schema == PRECISION
    assert frame["column"].to_list() == ["precision", "recall", "f1"]
    assert set(frame["pairs"]) == {scorable}
    assert frame["greatest"].is_between(0, 5e-3, closed="none").all()
    frame.write_parquet(tmp_path / "precision.parquet")

    def note(*files):
        return table_captions.precision({"precision": definitions.errors(files)})

    assert re.fullmatch(
        rf"On {scorable} pairs of this run, scores differ from those in float32 by at most "
        r"\S+e−0\d \(Precision\), \S+e−0\d \(Recall\) and \S+e−0\d \(BERTScore\)\.",
        note(tmp_path / "precision.parquet"),
    )
    assert note() == ""
    nothing = measure_precision(registry.get("bertscore"), encoder, [])
    assert nothing["greatest"].null_count() == 3
    nothing.write_parquet(tmp_path / "precision.parquet")
    assert note(tmp_path / "precision.parquet") == ""


@ON_A_GPU
@pytest.mark.parametrize("precision", ["tf32", "float16"])
@pytest.mark.parametrize("metric", [BertScore, SentenceBert])
def test_on_a_gpu_the_error_is_small_and_not_zero(metric, precision):
    score = build(metric, precision=precision, device="cuda")
    name = "f1" if metric is BertScore else "sbert"
    assert 0 < greatest_error(score, TEXTS, TEXTS[::-1])[name] < 5e-3


@ON_A_GPU
@pytest.mark.parametrize("windows", ["first", "all"])
@pytest.mark.parametrize("metric", [BertScore, SentenceBert])
def test_on_a_gpu_float32_equals_the_cpu(metric, windows):
    texts = [TEXTS[0] * 80, *TEXTS]
    scores = [
        build(metric, windows=windows, device=device)(texts, texts[::-1])
        for device in ("cpu", "cuda")
    ]
    for name in scores[0]:
        assert abs(scores[0][name] - scores[1][name]).max() < 1e-5
