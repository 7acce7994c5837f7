"""How the parsing of a response can end: well, or in one named failure."""

OK = "ok"
NO_THINK = "no_think"
UNCLOSED_THINK = "unclosed_think"
SEVERAL_THINKS = "several_thinks"
ANSWER_INSIDE_THINK = "answer_inside_think"
TOOL_CALL_WITHOUT_ANSWER = "tool_call_without_answer"
NO_BOX = "no_box"
EMPTY_THINK = "empty_think"
EMPTY_ANSWER = "empty_answer"
CUT_OFF = "cut_off"
LOOP = "loop"
ERROR = "error"

STATUSES = {
    OK: "One chain of thought and one answer, both with text.",
    NO_THINK: "No mark of thinking anywhere.",
    UNCLOSED_THINK: "The thinking is opened and never closed.",
    SEVERAL_THINKS: "More than one block of thinking where the format has one.",
    ANSWER_INSIDE_THINK: "The answer is given before the thinking is closed.",
    TOOL_CALL_WITHOUT_ANSWER: "No answer follows the last tool call.",
    NO_BOX: "No box that is closed, so nothing marks the answer.",
    EMPTY_THINK: "The thinking holds no text.",
    EMPTY_ANSWER: "The answer holds no text.",
    CUT_OFF: "The generation reached its length limit.",
    LOOP: "The generation was stopped because it repeated itself.",
    ERROR: "The generation failed.",
}
"""Every status with its meaning. The last three say how the generation ended and come first when
more than one would fit."""

OPEN = {NO_THINK, UNCLOSED_THINK, NO_BOX}
"""What is said of a text in which nothing marks the end of the thinking."""
