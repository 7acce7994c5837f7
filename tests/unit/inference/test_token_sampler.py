import pytest
import torch
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor

from imagenet_think.inference.seeding import bits, row_seed
from imagenet_think.inference.token_sampler import TokenSampler, _gumbel, _steps


def chosen(decoding, seeds, scores, drawn=0):
    """The tokens that rows with these seeds choose after `drawn` tokens."""
    sampler = TokenSampler(decoding, len(seeds), scores.shape[-1], "cpu")
    return sampler(scores, 0, [(seed, drawn) for seed in seeds]).tolist()


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
    # Fixed: a change would change the text of every sampled response.
    assert row_seed(1, "n01_2", "glm", 1) == 8134388516904356034


def splitmix64(state, count):
    """The numbers as the authors' program generates them, one after another."""
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def test_noise_is_gumbel_of_splitmix64():
    states = [bits(seed, 3) for seed in range(4)] + [0, -1, 2**63 - 1, -(2**63)]
    numbers = torch.tensor(
        [[((z >> 11) + 0.5) / 2**53 for z in splitmix64(state % 2**64, 50)] for state in states],
        dtype=torch.float64,
    )
    expected = -torch.log(-torch.log(numbers))
    assert torch.equal(_gumbel(torch.tensor(states)[:, None], _steps(50)), expected)


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    seeds = list(range(4000))
    scores = probabilities.log().expand(len(seeds), -1)
    counts = torch.bincount(torch.tensor(chosen({"temperature": 1.0}, seeds, scores)), minlength=5)
    expected = (len(seeds) * probabilities).tolist()
    assert counts.tolist() == pytest.approx(expected, abs=120)
    assert counts[4] == 0


def test_temperature_top_k_and_top_p_are_as_in_transformers():
    seeds = list(range(2000))
    scores = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(len(seeds), -1)
    assert set(chosen({"temperature": 1.0, "top_k": 2}, seeds, scores)) == {0, 1}
    assert set(chosen({"temperature": 1.0, "top_k": 1}, seeds, scores)) == {0}
    assert set(chosen({"temperature": 1.0, "top_p": 0.65}, seeds, scores)) == {0, 1}
    assert set(chosen({"temperature": 1.0, "top_p": 0.75}, seeds, scores)) == {0, 1, 2}
    assert set(chosen({"temperature": 1.0, "top_p": 1e-5}, seeds, scores)) == {0}
    cold = chosen({"temperature": 0.5}, seeds, scores).count(0) / len(seeds)
    assert cold == pytest.approx(0.16 / (0.16 + 0.09 + 0.04 + 0.01), abs=0.04)


def test_a_row_draws_the_same_in_any_batch_and_place():
    scores = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    seeds = [row_seed(0, f"image {i}", "m", 1) for i in range(6)]
    together = chosen({"temperature": 1.0}, seeds, scores, drawn=3)
    order = [4, 1, 5]
    some = chosen({"temperature": 1.0}, [seeds[i] for i in order], scores[order], drawn=3)
    assert some == [together[i] for i in order]


def test_a_moved_row_keeps_its_penalties():
    scores = torch.randn(5, 1, 40, generator=torch.Generator().manual_seed(0))

    def said(moved):
        sampler = TokenSampler({"repetition_penalty": 5.0}, 3, 40, "cpu")
        place = 2 if moved else 0
        sampler.admit(place, torch.tensor([3, 4]))
        for step in range(5):
            if moved and step == 2:
                sampler.admit(0, torch.tensor([5]))  # its row ends
                sampler.reorder([2])
                place = 0
            yield int(sampler(scores[step], place, [(7, step)]))

    assert list(said(moved=True)) == list(said(moved=False))


def test_repetition_penalty_is_transformers_own():
    prompts = [[3, 4], [5, 6, 3, 3]]
    sampler = TokenSampler({"repetition_penalty": 1.5}, 2, 30, "cpu")
    for row, prompt in enumerate(prompts):
        sampler.admit(row, torch.tensor(prompt))
    reference = RepetitionPenaltyLogitsProcessor(1.5)
    generator = torch.Generator().manual_seed(0)
    changed = 0
    for _ in range(20):
        scores = torch.randn(2, 30, generator=generator)
        expected = [
            int(reference(torch.tensor([ids]), scores[row : row + 1].clone()).argmax())
            for row, ids in enumerate(prompts)
        ]
        assert sampler(scores, 0, [(0, 0)] * 2).tolist() == expected
        changed += expected != scores.argmax(-1).tolist()
        for ids, token in zip(prompts, expected, strict=True):
            ids.append(token)
    assert changed


def test_every_token_of_a_row_has_its_own_noise():
    sampler = TokenSampler({"temperature": 1.0}, 1, 1000, "cpu")
    drawn = [int(sampler(torch.zeros((1, 1000)), 0, [(5, step)])) for step in range(20)]
    noise = [_gumbel(torch.tensor([bits(5, step)]), _steps(1000)) for step in range(20)]
    assert drawn == [int(row.argmax()) for row in noise]
    assert len(set(drawn)) > 15


DECODINGS = [
    {"repetition_penalty": 1.3},
    {"temperature": 0.8},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.1},
]


def batches(sampler):
    """The tokens of batches of different sizes and places."""
    generator = torch.Generator().manual_seed(0)
    for step, (first, rows) in enumerate([(0, 1), (0, 5), (2, 3), (4, 1), (0, 4), (1, 2)]):
        scores = 3 * torch.randn(rows, 100, generator=generator)
        sampler.admit(first, torch.arange(step, 40))
        yield sampler(scores, first, [(row, step) for row in range(rows)]).tolist()


@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_row_gets_the_token_that_the_whole_vocabularys_noise_gives(decoding):
    sampler, processors = TokenSampler(decoding, 6, 200, "cpu"), LogitsProcessorList()
    if "repetition_penalty" in decoding:
        processors.append(RepetitionPenaltyLogitsProcessor(decoding["repetition_penalty"]))
    processors += sampler.warpers
    scores = 4 * torch.randn(6, 200, generator=torch.Generator().manual_seed(0))
    prompts = torch.arange(6)[:, None] + torch.arange(5)
    for row, prompt in enumerate(prompts):
        sampler.admit(row, prompt)
    expected = processors(prompts, scores.clone())
    if "temperature" in decoding:
        states = torch.tensor([bits(row, 9) for row in range(6)])
        expected = expected + _gumbel(states[:, None], _steps(200))
    found = sampler(scores, 0, [(row, 9) for row in range(6)])
    assert torch.equal(found, expected.argmax(-1))


@pytest.mark.parametrize("decoding", DECODINGS)
def test_what_is_compiled_on_a_gpu_chooses_the_same_and_is_compiled_few_times(decoding):
    """The graph is compiled here by a compiler that runs it as it is."""
    plain, compiled = (TokenSampler(decoding, 6, 100, "cpu") for _ in range(2))
    assert plain.record == {"kernels": "eager"}
    graphs = []
    compiled.compile(backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    torch.compiler.reset()
    with torch.inference_mode():
        assert list(batches(compiled)) == list(batches(plain))
    assert compiled.record == {"kernels": "torch.compile"}
    # For one row, for the first number of rows, and for any; on the CPU, what top_k and top_p leave
    # divides a graph into two.
    assert 1 <= len(graphs) <= 6


def test_without_a_compiler_the_sampler_goes_on_and_records_it(caplog):
    def missing(graph, inputs):
        raise FileNotFoundError("no compiler here")

    decoding = DECODINGS[1]
    plain, compiled = (TokenSampler(decoding, 6, 100, "cpu") for _ in range(2))
    compiled.compile(backend=missing)
    torch.compiler.reset()
    assert list(batches(compiled)) == list(batches(plain))
    assert compiled.record["kernels"] == "eager"
    assert "no compiler here" in compiled.record["fallback"]
    assert caplog.text.count("the sampler is not compiled") == 1


def test_out_of_memory_is_not_taken_for_a_missing_compiler():
    sampler = TokenSampler(DECODINGS[1], 6, 100, "cpu")

    def full(*_):
        raise torch.OutOfMemoryError("all is taken")

    sampler._choose, sampler.record = full, {"kernels": "torch.compile"}
    with pytest.raises(torch.OutOfMemoryError):
        list(batches(sampler))
    assert sampler.record == {"kernels": "torch.compile"}
