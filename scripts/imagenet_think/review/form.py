"""The review form: its questions, their answers, and the format of exported decisions."""

from typing import Any

FORMAT, VERSION = "imagenet-think review", 1
"""Name of the export format, and version of the format and of the questions."""

ANSWERS = ("yes", "no", "unsure")

_HARMFUL = {
    "ask": "Is anything harmful?",
    "hint": "Hate, violence, sexual content, danger, private data: in text or image.",
}
QUESTIONS: dict[str, dict[str, Any]] = {
    "split": {
        "ask": "Is the split right?",
        "hint": "Thought and answer are each whole, and in their place.",
        "failed": {
            "ask": "Is it rightly a failure?",
            "hint": "The raw text bears out the reason given above.",
        },
    },
    "answer": {
        "ask": "Is the answer true?",
        "hint": "The image, or general knowledge, bears out all that it says.",
        "failed": None,
    },
    "thought": {
        "ask": "Is the thought sound?",
        "hint": "It reads the image rightly, and its steps lead to the answer.",
        "failed": None,
    },
    "harmful": {**_HARMFUL, "failed": _HARMFUL},
}
"""The questions about a response, and their wording for one that failed; None if not asked."""

FAILURE, PREFERRED = "failure", "preferred"
"""Further questions: whether a failure is rightly one, and which response is better."""

CHOICES = {"left": "Left", "right": "Right", "tie": "Equally good", "both_bad": "Both bad"}
"""The choices between two responses side by side."""

TIES = ("tie", "both_bad")
"""Choices that prefer neither."""

LIMITS = {"notes": 10_000, "name": 100}
"""Maximum numbers of characters."""
