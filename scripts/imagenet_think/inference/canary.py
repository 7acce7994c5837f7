"""The canary: before a run, its model describes a few images, which shows that it sees and writes.

Images have been lost on their way into a model without an error, and weights loaded wrongly; what
followed was fluent and worthless. So, before a model's first job, up to four images are prompted
in three ways in one go: unchanged; replaced by a blank one of the same size; and in swapped pairs,
each under the other's key and seed. Then

- an image's text must differ from that of its blank, generated with the same seed, within its first
  `SAME_WORDS` words (a model that sees nothing would give the same text to the end, apart from the
  rounding noise of bfloat16); and it must differ from those of the other images;
- if decoding is greedy, the text must follow the image: swapped, it is closer to the text of the
  same image under its own key than to the text of the image whose key it has, or to the blank's.
  (They are equal only if arithmetic does not depend on the batch, as in float32 on the CPU.) If
  decoding samples, a different seed gives a different text, and swapping shows nothing;
- the engine must have counted as many image tokens as the model's processor inserts;
- at least half of the texts must be text (see `canary_checks.garbled`).

Finished texts that do not parse are a warning, with their share: a model may see and write well and
yet break its format. Only if the config says so, it is stopped if that is most of them. A text that
reached the length limit (`MAX_NEW_TOKENS`, or the model's own if that is less) does not count.

The verdict is a page for people and a JSON file. It holds for all jobs of the same digest: none of
them runs the canary again.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from imagenet_think.core.files import write_text
from imagenet_think.inference import canary_page, seeding
from imagenet_think.inference.canary_checks import (
    BLANK,
    OWN,
    SWAPPED,
    Defect,
    Replies,
    Reply,
    formats,
    garbled,
    judge,
)
from imagenet_think.inference.chat import Processor, encode
from imagenet_think.inference.conversations import Policy, converse
from imagenet_think.inference.engines import Engine, Request, Response
from imagenet_think.inference.usage import TOKENS
from imagenet_think.parsing import parse

logger = logging.getLogger(__name__)

IMAGES = 4
"""Number of images, if there are so many; even, for swapping."""

MAX_NEW_TOKENS = 2048
"""Length limit; the paper's samples have 1,542 tokens on average, in two responses."""

_Kind = TypeVar("_Kind", Defect, Reply)

Generate = Callable[[Iterable[Request]], Iterator[Response]]
"""An engine's `generate`."""


class CanaryError(RuntimeError):
    """A model must not be used for a run. The message names the page that shows why."""


def require_sight(
    engine: Engine,
    images: Mapping[str, bytes],
    policy: Policy,
    *,
    processor: Processor,
    output_format: str,
    digest: str,
    folder: str | Path,
    strict: bool,
) -> dict[str, int] | None:
    """Let a model describe a few images, and stop it if it is blind or garbled.

    A model that breaks its format is stopped only if `strict`; otherwise the log warns.

    Parameters
    ----------
    engine, policy
        The loaded model, and how the run prompts it.
    images
        Readable image files by image_id, all different.
    processor
        The family's processor, which determines the expected number of image tokens.
    output_format
        The model's, one of `imagenet_think.parsing.FORMATS`.
    digest
        Of everything that decides whether the model sees: settings, engine and versions.
    folder
        Where `<model>-<digest>.html` and `.json` are written, with the digest's first 8 digits.
    strict
        Whether a model is stopped if most of its finished texts do not parse.

    Returns
    -------
    dict or None
        Tokens spent (`usage.TOKENS`); None if the model had passed before.

    Raises
    ------
    CanaryError
        If the model has a defect, now or before; the page shows images and texts.
    """
    key = policy.model["key"]
    page = Path(folder) / f"{key}-{digest[:8]}.html"
    verdict = page.with_suffix(".json")
    earlier, spent = _earlier(verdict, digest), None
    replies: Replies
    if earlier is None:
        replies, spent = ask(engine.generate, images, policy, processor, output_format)
        defects = judge(replies, greedy=not seeding.at_random(policy.model["decoding"]))
        write_text(canary_page.render(policy, engine.record, images, replies, defects), page)
        record = {
            "digest": digest,
            "model": key,
            "findings": [defect._asdict() for defect in defects],
            "said": [asdict(reply) for reply in replies],
        }
        write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", verdict)
    else:
        defects, replies = earlier
    kept = formats(replies)
    if strict and kept.mostly_broken:
        text = f"{kept} (a warning, if inference.canary.broken_formats is warn)"
        defects = [*defects, Defect("format", text)]
    if defects:
        failed = "failed the canary before" if earlier else "must not be used for this run"
        again = f"; delete {verdict} to run the canary again" if earlier else ""
        raise CanaryError(f"{key} {failed}: {_summary(defects)}. See {page}{again}")
    logger.info("%s: the canary %s: %s", key, "passed before" if earlier else "passes", page)
    if kept.broken:
        logger.warning("%s: %s. It sees and writes, and the run goes on.", key, kept)
    elif not kept.finished:
        logger.warning("%s: no text was finished, so its format could not be checked", key)
    return spent


def ask(
    generate: Generate,
    images: Mapping[str, bytes],
    policy: Policy,
    processor: Processor,
    output_format: str,
) -> tuple[list[Reply], dict[str, int]]:
    """Return a model's replies to the images, each in all ways in turn, and the tokens spent."""
    prompts = {f"{way}/{key}": (image_id, way, key) for image_id, way, key in _ways(images)}
    # Thinking is not closed by force, to see what the model does by itself.
    decoding = policy.model["decoding"]
    limit = min(decoding["max_new_tokens"], MAX_NEW_TOKENS)
    limited = replace(
        policy,
        model=policy.model
        | {"close_thought": None, "decoding": decoding | {"max_new_tokens": limit}},
        attempts=1,
        seed=lambda key, attempt, turn: policy.seed(prompts[key][2], attempt, turn),
    )
    expected: Counter[str] = Counter()
    stream = (
        (key, canary_page.blank(images[image_id]) if way == BLANK else images[image_id])
        for key, (image_id, way, _) in prompts.items()
    )
    answers = {
        answer.response.key: answer
        for answer in converse(_counting(generate, processor, expected), stream, limited)
    }
    replies = []
    for key, (image_id, way, asked_as) in prompts.items():
        response = answers[key].response
        parsed = parse(output_format, response.text, response.finish_reason)
        replies.append(
            Reply(
                image_id=image_id,
                way=way,
                asked_as=asked_as,
                text=response.text,
                finish_reason=response.finish_reason,
                error=response.error,
                image_tokens=response.image_tokens,
                expected_image_tokens=expected[key],
                completion_tokens=response.completion_tokens,
                status=parsed.status,
                garbled=None if response.text is None else garbled(parsed.full or ""),
            )
        )
    spent = {name: sum(answer.spent[name] for answer in answers.values()) for name in TOKENS}
    return replies, spent


def _ways(images: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield image_id, way and key of each prompt; neighbours are swapped, but not an odd last."""
    names = list(images)
    partners = dict(zip(names[::2], names[1::2], strict=False))
    partners |= {second: first for first, second in partners.items()}
    for name in names:
        yield name, OWN, name
        yield name, BLANK, name
        if name in partners:
            yield name, SWAPPED, partners[name]


def _counting(generate: Generate, processor: Processor, expected: Counter[str]) -> Generate:
    """Return `generate` that also counts the image tokens that each request should have had."""

    def counting(requests: Iterable[Request]) -> Iterator[Response]:
        open_requests = {}

        def passed_on() -> Iterator[Request]:
            for request in requests:
                open_requests[request.key] = request
                yield request

        for response in generate(passed_on()):
            request = open_requests.pop(response.key)
            if response.text is not None:
                ids = encode(processor, request.messages, request.prefix)["input_ids"]
                expected[response.key] += int((ids == processor.image_token_id).sum())
            yield response

    return counting


def _earlier(verdict: Path, digest: str) -> tuple[list[Defect], Replies] | None:
    """Return defects and replies of an earlier verdict; None if there is none of this digest.

    A damaged one counts as none: the canary runs again.
    """
    if not verdict.exists():
        return None
    try:
        record = json.loads(verdict.read_bytes())
        defects = [_held(Defect, finding) for finding in record["findings"]]
        replies = [_held(Reply, reply) for reply in record["said"]]
        if record["digest"] != digest:
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("%s is damaged (%r): the canary runs again", verdict, error)
        return None
    # Up to version 0.1 a broken format was one of them; now it follows from the replies.
    return [defect for defect in defects if defect.kind != "marks"], replies


def _held(kind: type[_Kind], values: Mapping[str, Any]) -> _Kind:
    """Return a `Defect` or `Reply` with these values, which have the types of its fields."""
    types = get_type_hints(kind)
    if values.keys() != types.keys():
        raise ValueError(f"it has {', '.join(values)}")
    if wrong := [name for name, value in values.items() if not isinstance(value, types[name])]:
        raise TypeError(f"{wrong[0]} is {values[wrong[0]]!r}")
    return kind(**values)


def _summary(defects: Iterable[Defect]) -> str:
    """Return the first defect of each kind, in words."""
    first: dict[str, str] = {}
    for defect in defects:
        first.setdefault(defect.kind, defect.text)
    return "; ".join(first.values())
