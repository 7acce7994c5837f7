"""Kimi-VL-Thinking: `◁think▷…◁/think▷answer`. The tags are plain text to its tokenizer."""

from imagenet_think.parsing import tagged
from imagenet_think.parsing.marks import Split
from imagenet_think.parsing.tagged import FAILURES, OPEN

__all__ = ["FAILURES", "MARKS", "OPEN", "RULE", "SPECIAL_TOKENS", "split"]

RULE = (
    "Thinking is what precedes the closing think tag, the answer what follows it; the opening tag "
    "is removed and may be missing."
)

MARKS = ("◁think▷", "◁/think▷")

SPECIAL_TOKENS = (
    *("[BOS]", "[EOS]", "[EOT]", "[PAD]", "[UNK]", "[start_header_id]", "[end_header_id]"),
)


def split(text: str) -> Split:
    """Split a text without special tokens."""
    return tagged.split(text, MARKS)
