import logging
import re

import pytest
import torch
from tiny_encoders import MINILM

from imagenet_think.metrics.bertscore import BertScore
from imagenet_think.metrics.encoder import greatest_error, reporting
from imagenet_think.metrics.precision import PRECISIONS, arithmetic, check_precision
from imagenet_think.metrics.sbert import SentenceBert

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


def test_the_error_is_logged_once_and_none_in_float32(caplog):
    caplog.set_level(logging.INFO, logger="imagenet_think")
    score = build(BertScore, device="cpu")
    exact = reporting(score)(TEXTS, TEXTS[::-1])
    assert not caplog.messages
    score.precision = "float16"
    reported = reporting(score, pairs=3)
    assert reported([], [])["f1"].shape == (0,)
    halved = [reported(TEXTS, TEXTS[::-1]) for _ in range(2)][1]
    (message,) = caplog.messages
    assert message.startswith("BertScore in float16: on 3 pairs scores differ from float32 by at")
    assert re.findall(r"\((\w+)\)", message) == ["precision", "recall", "f1"]
    logged = float(re.search(r"(\S+) \(f1\)", message)[1])
    assert logged == pytest.approx(abs(halved["f1"] - exact["f1"])[:3].max(), rel=0.1)


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
