"""GLM-4.1V-Thinking and OpenVLThinker: `<think>…</think><answer>…</answer>`.

GLM often ends without `</answer>`, which is one of its stop tokens, and sets a short result inside
the answer between `<|begin_of_box|>` and `<|end_of_box|>`: special tokens, so they are gone here.
"""

from imagenet_think.parsing.blocks import split

__all__ = ["RULE", "split"]

RULE = (
    "Thinking is what stands before </think>, the answer what stands after it; <think>, <answer> "
    "and </answer> are removed and may be missing."
)
