import pytest
import torch

from imagenet_think.inference.engines import hardware
from imagenet_think.inference.engines.hardware import choose_hardware

ASKED = {"device": "auto", "dtype": "auto", "attention": "auto"}


def pretend(monkeypatch, *, cuda, flash):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(hardware, "is_flash_attn_2_available", lambda: flash)


@pytest.mark.parametrize(
    ("cuda", "flash", "asked", "device", "dtype", "attention"),
    [
        (False, False, {}, "cpu", "float32", "sdpa"),
        (False, True, {}, "cpu", "float32", "sdpa"),
        (True, False, {}, "cuda", "bfloat16", "sdpa"),
        (True, True, {}, "cuda", "bfloat16", "flash_attention_2"),
        (True, True, {"dtype": "float32"}, "cuda", "float32", "sdpa"),
        (True, True, {"attention": "sdpa"}, "cuda", "bfloat16", "sdpa"),
        (True, True, {"device": "cpu"}, "cpu", "float32", "sdpa"),
    ],
)
def test_auto_selects_the_best_available(monkeypatch, cuda, flash, asked, device, dtype, attention):
    pretend(monkeypatch, cuda=cuda, flash=flash)
    found = choose_hardware(ASKED | asked)
    expected = (device, getattr(torch, dtype), attention)
    assert (found.device, found.dtype, found.attention) == expected


@pytest.mark.parametrize(
    ("cuda", "asked", "why"),
    [
        (False, {"attention": "flash_attention_2"}, "not a CUDA device"),
        (True, {"attention": "flash_attention_2"}, "flash-attn is not installed"),
        (True, {"attention": "flash_attention_2", "dtype": "float32"}, "the dtype is float32"),
        (False, {"device": "cuda"}, "torch sees no CUDA device"),
    ],
)
def test_an_unavailable_setting_is_an_error(monkeypatch, cuda, asked, why):
    pretend(monkeypatch, cuda=cuda, flash=False)
    with pytest.raises(ValueError, match=why):
        choose_hardware(ASKED | asked)
