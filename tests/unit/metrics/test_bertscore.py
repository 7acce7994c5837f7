import numpy as np
import pytest
import tiny_encoders
import torch
from bert_score import BERTScorer
from bert_score.utils import greedy_cos_idf
from hard_texts import fixed_pairs, long_text
from tiny_encoders import MINILM, POSITIONS, save_roberta
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, BartConfig, BertModel, RobertaTokenizer

from imagenet_think.metrics import bertscore
from imagenet_think.metrics.bertscore import BertScore, Embedded, load_tokenizer, match
from imagenet_think.metrics.truncation import cut

TEXTS = [*tiny_encoders.TEXTS[:6], "A quiet lighthouse above the sea, seen at dusk."]
LONG = TEXTS[5]
PAIRS = [(a, b) for a in TEXTS for b in TEXTS]


@pytest.fixture(scope="module")
def ours():
    return BertScore(MINILM, layer=6, max_tokens=512, batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def theirs():
    return BERTScorer(model_type=MINILM, num_layers=6, device="cpu")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    return save_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="module")
def every():
    return BertScore(MINILM, layer=6, max_tokens=24, batch_size=4, windows="all", device="cpu")


def columns(pairs):
    return [list(texts) for texts in zip(*pairs, strict=True)]


NAMES = ("precision", "recall", "f1")


def largest_difference(scores, expected):
    return max(
        np.abs(scores[name] - values.numpy()).max()
        for name, values in zip(NAMES, expected, strict=True)
    )


def test_equal_to_bert_score(ours, theirs):
    """Texts of at least a sentence, in one batch."""
    candidates, references = columns(pair for pair in PAIRS if "bow" not in pair)
    scores = ours(candidates, references)
    assert largest_difference(scores, theirs.score(candidates, references)) < 1e-5
    assert all(scores[name].dtype == np.float64 for name in NAMES)


def test_equal_to_bert_score_called_pair_by_pair(ours, theirs):
    pairs = [pair for pair in PAIRS if LONG not in pair]
    one_by_one = zip(*(theirs.score([a], [b]) for a, b in pairs), strict=True)
    scores = ours(*columns(pairs))
    assert largest_difference(scores, map(torch.cat, one_by_one)) < 1e-5


@pytest.mark.slow
def test_hard_texts_equal_bert_score_called_pair_by_pair(ours, theirs):
    # On a text of white space the library fails with this version of transformers.
    pairs = [(a, b) for a, b in zip(*fixed_pairs(), strict=True) if a.strip() and b.strip()]
    one_by_one = zip(*(theirs.score([a], [b]) for a, b in pairs), strict=True)
    assert largest_difference(ours(*columns(pairs)), map(torch.cat, one_by_one)) < 1e-5


def test_a_lower_layer_equals_bert_score(ours):
    candidates, references = columns(PAIRS[:5])
    theirs = BERTScorer(model_type=MINILM, num_layers=3, device="cpu")
    three = BertScore(MINILM, layer=3, max_tokens=512, batch_size=8, device="cpu")
    expected = theirs.score(candidates, references)[2].numpy()
    assert np.abs(three(candidates, references)["f1"] - expected).max() < 1e-5
    assert np.abs(ours(candidates, references)["f1"] - expected).max() > 1e-3


def test_an_empty_text_scores_zero(ours):
    scores = ours(["", "a bow", " \n", "a bow"], ["a bow", "", "", "a bow"])
    for name in NAMES:
        assert scores[name][:3].tolist() == [0, 0, 0]
        assert scores[name][3] == pytest.approx(1)


def test_a_text_of_special_tokens_only_scores_zero(ours, theirs):
    """bert-score divides by 0 here: its precision is NaN, its F1 is 0."""
    assert theirs.score(["[SEP]"], ["a bow"])[2].tolist() == [0]
    scores = ours(["[SEP]", "a bow"], ["a bow", "[SEP]"])
    assert [scores[name].tolist() for name in NAMES] == [[0, 0]] * 3


@pytest.mark.slow
def test_a_text_of_200_000_words(ours, theirs):
    long, other = long_text(1), long_text(2, tokens=1000)
    scores = ours([long], [other])
    assert largest_difference(scores, theirs.score([long], [other])) < 1e-5
    tokens = len(ours.tokenizer(long, add_special_tokens=False)["input_ids"])
    assert scores["seen_candidate"][0] == 510 / tokens < 510 / 200_000


@pytest.mark.parametrize("tile", [3, 1000])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_matching_equals_that_of_bert_score_pair_by_pair(tile, batch_size):
    """Also where a token resembles none of the other text's: random vectors of few dimensions."""
    generator = np.random.default_rng(4)
    lengths = [3, 9, 4, 3, 6, 3]
    ends = np.cumsum(lengths)
    vectors = torch.from_numpy(generator.normal(size=(ends[-1], 3))).float()
    weights = torch.ones(int(ends[-1]))
    texts = [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    vectors[texts[0], 0] += 4
    vectors[texts[3], 0] -= 4
    for text in texts:
        weights[text[0]] = 0
    first, second = (rows.ravel() for rows in np.mgrid[:6, :6])
    embedded = Embedded(normalize(vectors, dim=-1), weights, texts)
    precision, recall = match(embedded, first, second, batch_size, tile)

    def library(*rows):
        """The library's function for pairs at once, padded as the library pads."""
        sides = []
        for side in zip(*rows, strict=True):
            tokens = [vectors[text] for text in side]
            padded = pad_sequence(tokens, batch_first=True, padding_value=2.0)
            mask = pad_sequence([torch.ones(len(text)) for text in side], batch_first=True).bool()
            weigh = [weights[text] for text in side]
            sides.append((padded, mask, pad_sequence(weigh, batch_first=True)))
        (a, mask_a, weigh_a), (b, mask_b, weigh_b) = sides
        return greedy_cos_idf(b, mask_b, weigh_b, a, mask_a, weigh_a)[:2]

    rows = [(texts[a], texts[b]) for a, b in zip(first, second, strict=True)]
    one_by_one = np.array([[value.item() for value in library(row)] for row in rows])
    assert np.abs(np.stack([precision, recall], axis=1) - one_by_one).max() < 1e-6
    assert precision.min() < 0  # not clipped
    # In a batch the library's padding, whose similarity is 0, is matched too.
    together = torch.stack(library(*rows), dim=1).numpy()
    assert (one_by_one <= together + 1e-6).all()
    assert (one_by_one < together - 1e-3).any()


def test_special_tokens_may_be_matched(ours):
    """They have weight 0, but are the best match of some tokens: without them, F1 is lower."""
    texts = ["a quiet lighthouse above the sea", "- 7"]
    embedded = ours.embed(cut(ours.subwords, texts, 512, "first"))
    places = np.array([0]), np.array([1])
    bare = Embedded(embedded.embeddings, embedded.weights, [row[1:-1] for row in embedded.texts])
    kept, left_out = (np.array(match(tokens, *places, 4)).ravel() for tokens in (embedded, bare))
    assert (kept >= left_out).all()
    assert (kept > left_out + 1e-3).any()


def naive_all(path, tokenizer, candidate, reference, room):
    """Every window embedded by itself, all tokens of one text matched with all of the other."""
    model = AutoModel.from_pretrained(path).eval()

    def embed(text):
        ids = tokenizer(text.strip(), add_special_tokens=False)["input_ids"]
        windows = [[101, *ids[k : k + room], 102] for k in range(0, len(ids), room)]
        with torch.inference_mode():
            vectors = torch.cat([model(torch.tensor([window]))[0][0] for window in windows])
        return normalize(vectors, dim=-1), ~np.isin(np.concatenate(windows), (101, 102))

    (a, weigh_a), (b, weigh_b) = embed(candidate), embed(reference)
    similarities = (a @ b.T).numpy()
    precision = similarities.max(1)[weigh_a].mean()
    recall = similarities.max(0)[weigh_b].mean()
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.mark.slow
def test_all_windows_against_the_definition(every, ours):
    pairs = [(TEXTS[0] * 9, TEXTS[1]), (TEXTS[5][:500], TEXTS[6] * 5), (TEXTS[2], TEXTS[0] * 3)]
    scores = every(*columns(pairs))
    for k, (candidate, reference) in enumerate(pairs):
        expected = naive_all(MINILM, every.tokenizer, candidate, reference, 22)
        assert [scores[name][k] for name in NAMES] == pytest.approx(expected, abs=1e-5)
    assert scores["seen_candidate"].tolist() == scores["seen_reference"].tolist() == [1, 1, 1]
    assert np.abs(scores["f1"] - ours(*columns(pairs))["f1"]).max() > 1e-3


@pytest.mark.parametrize("tokens", [6_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_very_long_texts_are_matched_in_tiles(roberta, monkeypatch, tokens):
    """At most a tile of similarities is held at once."""
    held = []
    bmm = torch.bmm

    def recorded(a, b):
        held.append(a.shape[0] * a.shape[1] * b.shape[2])
        return bmm(a, b)

    score = BertScore(roberta, layer=2, max_tokens=64, batch_size=64, windows="all", device="cpu")
    words = ["the", "archer", "bow", "aims", "and"]  # of one token each
    text = " ".join(np.random.default_rng(0).choice(words, tokens))
    assert len(score.tokenizer(text, add_special_tokens=False)["input_ids"]) == tokens
    monkeypatch.setattr(bertscore.torch, "bmm", recorded)
    f1 = score([text, "a bow"], [f"{text} the", "a bow"])["f1"]
    assert f1[0] == pytest.approx(1, abs=1e-4)
    assert max(held) == bertscore.TILE**2


def test_an_unknown_layer_is_an_error():
    with pytest.raises(ValueError, match=r"bertscore\.layer is 7"):
        BertScore(MINILM, layer=7, max_tokens=512, batch_size=8)


def test_a_checkpoint_with_a_decoder_is_an_error(tmp_path):
    BartConfig().save_pretrained(tmp_path)
    load_tokenizer(MINILM).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"bertscore\.repository: .* has a decoder"):
        BertScore(str(tmp_path), layer=1, max_tokens=64, batch_size=8, device="cpu")


def test_roberta_sees_a_space_before_the_first_word(roberta):
    plain = RobertaTokenizer.from_pretrained(roberta)
    tokenizer = load_tokenizer(roberta)
    spaced = plain(" archer holds").input_ids
    assert plain("archer holds").input_ids != spaced
    assert tokenizer("archer holds").input_ids == spaced
    score = BertScore(roberta, layer=2, max_tokens=64, batch_size=8, device="cpu")
    assert cut(score.subwords, ["archer holds"], 64, "first").inputs[0].tolist() == spaced


def test_roberta_without_a_named_window(roberta):
    score = BertScore(roberta, layer=2, max_tokens=POSITIONS, batch_size=8, device="cpu")
    assert score.tokenizer.model_max_length > 1e6
    scores = score(["the archer " * 90, "the bow"], ["the archer " * 31, "archer"])
    assert scores["f1"][0] == pytest.approx(1)
    assert 0 < scores["seen_candidate"][0] < 1
    with pytest.raises(ValueError, match=rf"max_tokens is {POSITIONS + 1}, but .* {POSITIONS} t"):
        BertScore(roberta, layer=2, max_tokens=POSITIONS + 1, batch_size=8, device="cpu")


def test_roberta_equals_bert_score_with_the_tokenizer_it_asks_for(roberta):
    """bert-score itself loads one without the space, and reads the missing window as 1e30."""
    theirs = BERTScorer(model_type=roberta, num_layers=2, device="cpu")
    theirs._tokenizer = load_tokenizer(roberta)
    theirs._tokenizer.model_max_length = POSITIONS
    ours = BertScore(roberta, layer=2, max_tokens=POSITIONS, batch_size=5, device="cpu")
    texts = ["the archer " * 60, "archer", " bow <s> </s> <pad> aims\n", "弓 7"]
    pairs = [(a, b) for a in texts for b in texts]
    one_by_one = zip(*(theirs.score([a], [b]) for a, b in pairs), strict=True)
    assert largest_difference(ours(*columns(pairs)), map(torch.cat, one_by_one)) < 1e-5


def test_an_encoder_without_a_pooler_is_enough(tmp_path):
    """Only the layer's output counts: what lies above it changes nothing."""
    model = BertModel.from_pretrained(MINILM, add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    load_tokenizer(MINILM).save_pretrained(tmp_path)
    bare, whole = (
        BertScore(str(path), layer=6, max_tokens=64, batch_size=4, device="cpu")(
            ["a bow", "a red boat"], ["the sea", "a bow"]
        )
        for path in (tmp_path, MINILM)
    )
    assert bare["f1"].tolist() == whole["f1"].tolist()
