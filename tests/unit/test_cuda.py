"""What only a GPU can show: the paged kernel and captured graphs. Skipped where there is none."""

import pytest
import torch
from noise import noise_file

from imagenet_think import families, published
from imagenet_think.chat import encode, first_conversation
from imagenet_think.engines.attention import attend_pages, attend_rows, lacks_pages
from imagenet_think.engines.decoder import Decoder
from imagenet_think.engines.stores import PAGE, PageStore, RowStore
from imagenet_think.engines.transformers_engine import _placed

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def layer(heads):
    return tuple(torch.zeros(1, heads, 1, 128, dtype=torch.bfloat16, device=DEVICE) for _ in "kv")


@pytest.mark.parametrize(("heads", "shared"), [(32, 2), (28, 4), (32, 8)])
@torch.inference_mode()
def test_this_gpu_has_pages(heads, shared):
    """Without them every row costs as much as the longest one."""
    assert lacks_pages(heads, *layer(shared)) is None


@pytest.mark.parametrize(("heads", "shared"), [(32, 2), (28, 4), (32, 8)])
@pytest.mark.parametrize("rows", [1, 2, 7, 48, 256])
@pytest.mark.parametrize("longest", [100, 700, 4000])
@torch.inference_mode()
def test_pages_and_rows_attend_alike(heads, shared, rows, longest):
    """The kernel splits long rows where there are few: torch 2.13 had errors there (194167)."""
    torch.manual_seed(0)
    lengths = torch.randint(1, longest + 1, (rows,), device=DEVICE)
    lengths[-1] = longest
    wanted = [length + 1 for length in lengths.tolist()]
    new = [torch.randn(rows, shared, 1, 128, dtype=torch.bfloat16, device=DEVICE) for _ in range(2)]
    query = torch.randn(rows, heads, 1, 128, dtype=torch.bfloat16, device=DEVICE)
    outputs = []
    for kind, attend in ((RowStore, attend_rows), (PageStore, attend_pages)):
        store = kind([layer(shared)], rows, rows * 2 * (longest + PAGE) + PAGE)
        store.reserve(wanted)
        for row, length in enumerate(lengths.tolist()):
            generator = torch.Generator(DEVICE).manual_seed(row)
            tokens = torch.arange(length, device=DEVICE)
            parts = [
                torch.randn(length, shared, 128, generator=generator, device=DEVICE).bfloat16()
                for _ in range(2)
            ]
            store.write(0, torch.full_like(tokens, row), tokens, *parts)
        store.begin(lengths, store.reach(longest + 1))
        found = store.update(*new, 0)
        out, _ = attend(None, query, *found, store.mask, scaling=128**-0.5, store=store)
        assert out.isfinite().all()
        outputs.append(out.float())
    torch.testing.assert_close(*outputs, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("name", families.NAMES)
@torch.inference_mode()
def test_a_graph_gives_the_scores_that_its_kernels_give(name):
    model = published.random_model(name, DEVICE, torch.bfloat16, tiny=True)
    processor = published.processor(name)
    inputs = [
        encode(processor, first_conversation(noise_file(i, 60 + 20 * i, 90), "Why?", {}))
        for i in range(3)
    ]
    steppers = [Decoder(model, 5, 8192) for _ in range(2)]
    steppers[1].captures = False
    for stepper in steppers:
        for row, encoded in enumerate(inputs):
            stepper.prefill(_placed(encoded, model), [row])
    for step in range(6):
        if step == 3:  # a row ends, and the last one takes its place
            for stepper in steppers:
                stepper.release(0)
                stepper.move(2, 0)
                stepper.cut(2)
        count = len(steppers[0].lengths)
        tokens = torch.arange(count, device=DEVICE) + 70 + step
        scores = [stepper.step(tokens).float() for stepper in steppers]
        torch.testing.assert_close(*scores, atol=0.005, rtol=0.02)
    assert steppers[0].captures
    assert len(steppers[0].graphs) == 2
