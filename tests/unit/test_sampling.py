import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from imagenet_think.draws import row_seed, uniform
from imagenet_think.sampling import RowSampler

NO_PROMPT = (torch.zeros((1, 1), dtype=torch.long), torch.zeros((1, 1), dtype=torch.long))


def chosen(decoding, seeds, scores, step=0):
    sampler = RowSampler(decoding, seeds, *NO_PROMPT)
    sampler.step = step
    return sampler(torch.zeros((len(seeds), 1), dtype=torch.long), scores).argmax(-1).tolist()


def test_seeds_depend_on_each_part():
    seeds = {
        row_seed(1, "n01_2", "glm", 1),
        row_seed(2, "n01_2", "glm", 1),
        row_seed(1, "n01_3", "glm", 1),
        row_seed(1, "n01_2", "kimi", 1),
        row_seed(1, "n01_2", "glm", 2),
        row_seed(1, "n01_2", "glm", 1, turn=2),
    }
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Fixed: a change would give every sampled response of a run another text.
    assert row_seed(1, "n01_2", "glm", 1) == 8134388516904356034


def test_numbers_are_spread_evenly_and_differ_by_step():
    numbers = torch.tensor([uniform(seed, step) for seed in range(50) for step in range(40)])
    assert numbers.unique().numel() == 2000
    assert 0 <= numbers.min() <= numbers.max() < 1
    assert torch.histc(numbers, 10, 0, 1).tolist() == pytest.approx([200] * 10, abs=60)


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    seeds = list(range(4000))
    scores = probabilities.log().expand(len(seeds), -1)
    counts = torch.bincount(torch.tensor(chosen({"temperature": 1.0}, seeds, scores)), minlength=5)
    expected = (len(seeds) * probabilities).tolist()
    assert counts.tolist() == pytest.approx(expected, abs=120)
    assert counts[4] == 0


def test_temperature_top_k_and_top_p_cut_as_in_transformers():
    seeds = list(range(2000))
    scores = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(len(seeds), -1)
    assert set(chosen({"temperature": 1.0, "top_k": 2}, seeds, scores)) == {0, 1}
    assert set(chosen({"temperature": 1.0, "top_p": 0.65}, seeds, scores)) == {0, 1}
    assert set(chosen({"temperature": 1.0, "top_p": 0.75}, seeds, scores)) == {0, 1, 2}
    assert set(chosen({"temperature": 1.0, "top_p": 1e-5}, seeds, scores)) == {0}
    cold = chosen({"temperature": 0.5}, seeds, scores).count(0) / len(seeds)
    assert cold == pytest.approx(0.16 / (0.16 + 0.09 + 0.04 + 0.01), abs=0.04)


def test_a_row_draws_the_same_beside_any_others():
    scores = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    seeds = [row_seed(0, f"image {i}", "m", 1) for i in range(6)]
    together = chosen({"temperature": 1.0}, seeds, scores, step=3)
    order = [4, 1, 5]
    some = chosen({"temperature": 1.0}, [seeds[i] for i in order], scores[order], step=3)
    assert some == [together[i] for i in order]


def test_repetition_penalty_is_transformers_own_and_leaves_padding_out():
    prompt = torch.tensor([[0, 0, 3, 4], [5, 6, 3, 3]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    scores = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    sampler = RowSampler({"repetition_penalty": 1.5}, [1, 2], prompt, mask)
    reference = RepetitionPenaltyLogitsProcessor(1.5)
    steps = [torch.tensor([[7], [1]]), torch.tensor([[2], [2]])]
    ids, rows = prompt, [[3, 4], [5, 6, 3, 3]]
    for step in range(3):
        got = sampler(ids, scores.clone())
        for i, row in enumerate(rows):
            assert torch.equal(got[i], reference(torch.tensor([row]), scores[i : i + 1].clone())[0])
        if step < 2:
            ids = torch.cat([ids, steps[step]], dim=1)
            rows = [[*row, int(new)] for row, new in zip(rows, steps[step], strict=True)]
    assert got[0, 0] == scores[0, 0]


def test_unknown_decoding_settings_are_named():
    with pytest.raises(ValueError, match=r"\['top_q'\]"):
        RowSampler({"top_q": 1}, [1], *NO_PROMPT)


def test_every_token_of_a_row_has_a_number_of_its_own():
    sampler = RowSampler({"temperature": 1.0}, [5], *NO_PROMPT)
    ids, scores = torch.zeros((1, 1), dtype=torch.long), torch.zeros((1, 1000))
    drawn = [int(sampler(ids, scores).argmax()) for _ in range(20)]
    assert drawn == [int(1000 * uniform(5, step)) for step in range(20)]
    assert len(set(drawn)) > 15
