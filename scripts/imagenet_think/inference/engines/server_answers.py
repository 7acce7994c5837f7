"""What a server answers, used only once its shape and ranges are right.

A server is a program of others, possibly behind others' proxies. Whatever it sends is read here:
checked against a schema and bounded in size. An answer that is wrong is requested again
(`UnavailableError`), and ends the job if it stays wrong.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import jsonschema

from imagenet_think.core import json_schema
from imagenet_think.core.printing import escaped
from imagenet_think.inference.engines import EngineError
from imagenet_think.inference.loops import CHECK_EVERY, ends_in_loop

MOST_BYTES = 2**20
"""Size of an answer that is no stream, and of an event of a stream."""

_MOST_SHOWN = 500  # characters of a server's message


class RefusedError(Exception):
    """The server will not answer this request, however often it is sent."""


class UnavailableError(Exception):
    """The server did not answer, but may the next time.

    `silent` says that no request got a token for too long, `pause` for how many seconds the server
    asks to be left alone.
    """

    def __init__(self, message: str, *, silent: bool = False, pause: float | None = None):
        super().__init__(message)
        self.silent, self.pause = silent, pause


def _is_tokens(_: object, value: object) -> bool:
    # One pass: a schema for each token takes a hundred times as long.
    return isinstance(value, list) and all(type(x) is int and 0 <= x < 2**31 for x in value)


_Validator = jsonschema.validators.extend(
    json_schema.Validator,
    type_checker=json_schema.Validator.TYPE_CHECKER.redefine_many(
        # A character may come in halves, in two events: such a string is no text yet.
        {"tokens": _is_tokens, "halves": lambda _, value: isinstance(value, str)}
    ),
)


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


_NAME = {"type": "string", "minLength": 1, "maxLength": 1000}
_COUNT = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1}
_TOKENS, _TEXT = {"type": ["tokens", "null"]}, {"type": ["halves", "null"]}
_OR_NULL = {"type": ["object", "null"]}
_MODEL = _object("id", id=_NAME, max_model_len=_COUNT)
_DELTA = _object(content=_TEXT, refusal=_TEXT, reasoning=_TEXT, reasoning_content=_TEXT)
_CHOICE = _object(
    index={"const": 0},
    token_ids=_TOKENS,
    finish_reason={"type": ["string", "null"], "maxLength": 100},
    delta=_DELTA | _OR_NULL,
)
_USAGE = _object(prompt_tokens=_COUNT, completion_tokens=_COUNT)
_EVENT = _object(
    prompt_token_ids=_TOKENS,
    usage=_USAGE | _OR_NULL,
    choices={"type": ["array", "null"], "maxItems": 1, "items": _CHOICE},
)
_VALIDATORS = {
    "models": _Validator(_object("data", data={"type": "array", "items": _MODEL})),
    "version": _Validator(_object("version", version=_NAME)),
    "event": _Validator(_EVENT),
}


def read(kind: str, data: str | bytes) -> dict[str, Any]:
    """Return an answer (`models`, `version` or `event`), whose keys that are used here are right.

    Raises
    ------
    UnavailableError
        If it is not JSON or not of the shape of its kind.
    """
    try:
        answer = json.loads(data)
        wrong = next(_VALIDATORS[kind].iter_errors(answer), None)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"the answer is not JSON ({_shown(str(error))})") from None
    if wrong:
        place = _shown(wrong.json_path.removeprefix("$").removeprefix("."))
        raise UnavailableError(f"the answer has a wrong form ({place}: {_shown(wrong.message)})")
    return answer


_CACHE = re.compile(r"^vllm:cache_config_info\{(.*)\} ", re.M)
_LABEL = re.compile(r'(?:^|,)(\w+)="((?:[^"\\]|\\.)*)"')


def cached_tokens(metrics: bytes) -> int | None:
    """Return how many tokens vLLM's attention caches hold together, from its metrics.

    vLLM (`CacheConfig.kv_cache_size_tokens`) reports them for each of its engines, one per GPU with
    data parallelism. None where the metrics do not say it.
    """
    text = metrics.decode("utf-8", errors="replace")
    found = [dict(_LABEL.findall(labels)) for labels in _CACHE.findall(text)]
    sizes = {each.get("engine"): each.get("kv_cache_size_tokens", "") for each in found}
    if not sizes or not all(re.fullmatch("[0-9]{1,12}", size) for size in sizes.values()):
        return None
    return sum(map(int, sizes.values())) or None


def failure(status: int, answer: Any, retry_after: str = "") -> Exception:
    """Return what an error means: this request's fault, a passing state, or a wrong config.

    Parameters
    ----------
    status
        HTTP status; 200 for an error in a stream, which may have a `code` instead.
    answer
        The body, as JSON or as text, in any of the usual forms.
    retry_after
        The header of this name; only a number of seconds counts.
    """
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    kinds: tuple[Any, ...] = ()
    if isinstance(error, dict):
        kinds = error.get("code"), error.get("type")
        error = error.get("message") or error.get("detail") or error
    message = _shown(error)
    if status != 200:
        message = f"HTTP {status}: {message}"
    else:
        status = next((x for x in kinds if type(x) is int and 400 <= x < 600), 500)
    if "content_filter" in kinds or status in (400, 413, 422):
        return RefusedError(message)
    if status in (408, 425, 429) or status >= 500:
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return UnavailableError(message, pause=seconds)
    return EngineError(f"the server answers {message}")


def _shown(value: Any) -> str:
    """Return a value of the server on one line, shortened."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        text = "…"
    line = escaped(text[: _MOST_SHOWN + 1])
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}…"


@dataclass
class StreamedResponse:
    """What the server has returned so far in answer to one request.

    `limit` is the number of tokens that it may return, `vocabulary` the number that exist, and
    `longest` the number of characters of the longest.
    """

    loop: dict | None
    limit: int
    vocabulary: int
    longest: int
    prompt: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    usage: dict = field(default_factory=dict)
    finish_reason: str = ""
    refusal: str = ""
    _texts: list[str] = field(default_factory=list)
    _length: int = 0

    @property
    def text(self) -> str:
        """The text, where the server returns no tokens."""
        # Halves of a character are joined; one without the other is none.
        whole = "".join(self._texts).encode("utf-16", "surrogatepass")
        return whole.decode("utf-16", "replace")

    def take(self, data: str) -> bool:
        """Add the contents of one event, or raise its error; return whether the text has grown."""
        event = read("event", data)
        if event.get("error"):
            raise failure(200, event)
        self.prompt = event.get("prompt_token_ids") or self.prompt
        self.usage = event.get("usage") or self.usage
        return any([self._add(choice) for choice in event.get("choices") or ()])

    def _add(self, choice: dict) -> bool:
        delta, tokens = choice.get("delta") or {}, choice.get("token_ids") or []
        text, last = delta.get("content") or "", choice.get("finish_reason")
        self.refusal = (self.refusal + (delta.get("refusal") or ""))[:_MOST_SHOWN]
        if last == "content_filter" or (last and self.refusal):
            raise RefusedError(f"the server refuses an answer ({last}): {_shown(self.refusal)}")
        taken = {
            "thought": not tokens and (delta.get("reasoning_content") or delta.get("reasoning")),
            "tool call": delta.get("tool_calls") or last in ("tool_calls", "function_call"),
        }
        for part, parser in (("thought", "reasoning"), ("tool call", "tool")):
            if taken[part]:
                raise EngineError(
                    f"the server takes the {part} out of the text: start it without a {parser} "
                    "parser"
                )
        if last and last not in ("stop", "length"):
            raise UnavailableError(f"the response was cut off ({_shown(last)})")
        if (text or tokens) and self.finish_reason:
            raise UnavailableError("the response goes on after its end")
        if tokens and max(tokens) >= self.vocabulary:
            raise UnavailableError(f"the model has no token {max(tokens)}")
        if text and not tokens:
            self._texts.append(text)
            self._length += len(text)
        for i, token in enumerate(tokens, start=1):
            self.tokens.append(token)
            if self.loop is None or len(self.tokens) % CHECK_EVERY:
                continue
            # A response that ends here by itself is no loop.
            ended = last == "stop" and i == len(tokens)
            if not ended and ends_in_loop(self.tokens, **self.loop):
                self.finish_reason = "loop"
                return True
        if len(self.tokens) > self.limit or self._length > self.limit * self.longest:
            raise UnavailableError(f"the response is longer than {self.limit} tokens")
        self.finish_reason = last or self.finish_reason
        return bool(text or tokens)

    def check(self) -> None:
        """Check that the response is whole, and that its parts agree."""
        if self.finish_reason == "loop":
            return
        if not self.finish_reason:
            raise UnavailableError("the response was cut off")
        counted = self.usage.get("completion_tokens")
        if self.tokens and (self._texts or counted not in (None, len(self.tokens))):
            raise UnavailableError(
                f"only {len(self.tokens)} tokens came; the server counts {counted}"
            )
        if (counted or 0) > self.limit:
            raise UnavailableError(f"the server counts {counted} tokens, more than {self.limit}")
