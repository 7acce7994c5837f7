"""Kimi-VL-Thinking: `◁think▷…◁/think▷answer`. The tags are plain text to its tokenizer."""

import re

from imagenet_think.parsing import blocks
from imagenet_think.parsing.marks import Split

RULE = (
    "Thinking is what stands before the closing think tag, the answer what stands after it; the "
    "opening tag is removed and may be missing."
)

TAGS = re.compile(r"(◁/?think▷)")


def split(text: str) -> Split:
    """Take a text without special tokens apart."""
    return blocks.split(text, TAGS)
