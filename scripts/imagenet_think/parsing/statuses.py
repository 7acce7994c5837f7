"""Statuses of a parsed response that do not depend on its format."""

OK = "ok"
EMPTY_THINK = "empty_think"
EMPTY_ANSWER = "empty_answer"
CUT_OFF = "cut_off"
LOOP = "loop"
ERROR = "error"

PARSED = {OK: "One chain of thought and one answer, both with text."}

EMPTY = {
    EMPTY_THINK: "The thinking holds no text.",
    EMPTY_ANSWER: "The answer holds no text.",
}

UNFINISHED = {
    CUT_OFF: "The generation reached its length limit.",
    LOOP: "The generation was stopped because it repeated itself.",
    ERROR: "The generation failed.",
}
"""Statuses of a generation that did not stop by itself. They take precedence over all others."""
