"""GLM-4.1V-Thinking and OpenVLThinker: `<think>…</think><answer>…</answer>`.

GLM often ends without `</answer>`, which is one of its stop tokens, and puts a short result inside
the answer between `<|begin_of_box|>` and `<|end_of_box|>`: special tokens, already removed here.
"""

from imagenet_think.parsing.tagged import FAILURES, MARKS, OPEN, split

__all__ = ["FAILURES", "MARKS", "OPEN", "RULE", "SPECIAL_TOKENS", "split"]

RULE = (
    "Thinking is what precedes </think>, the answer what follows it; <think>, <answer> and "
    "</answer> are removed and may be missing."
)

SPECIAL_TOKENS = ("[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>")
