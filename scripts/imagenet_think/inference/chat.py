"""Conversations about an image, and their encoding as model inputs.

A model's entry in the config determines its messages: `system` (system message), `template` (the
user's text, with `{image}` in the image's place and `{prompt}` in that of the run's prompt) and,
for a model that may request the image at full size, `second_round` (`first_scale`, the scale of
width and height in the first round; `scaling`, how it is applied; and the `template` of the second
user turn). A request that is wrong is answered by `ERROR_TURN`, as in VisionThink's program
(`scripts/vllm_tool.py`).

Messages have the form of transformers' chat templates: user turns are lists of parts; system and
assistant turns are strings, because without an image some templates accept nothing else. An image
part is `{"type": "image", "image": bytes, "scale": share}` with the bytes of an image file, so that
a waiting conversation takes no more memory than its file. With `"raw": True` the file's own pixels
are scaled before the processor sees the image; otherwise what the processor would show is scaled.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from PIL import Image

from imagenet_think.parsing import tool_calls

TEMPLATE = "{image}{prompt}"

LEAST_SIDE = 28
"""Minimum side of a raw image in pixels, as in VisionThink's `scripts/vllm_tool.py`."""

ERROR_TURN = (
    "{error}Please analyze the error information obtained from the function tool and adjust your "
    "response. Countinue your reasoning process inside <think> and </think>."
)
"""The second user turn after a wrong tool call, letter for letter as in VisionThink's program."""


class PromptError(ValueError):
    """A conversation that the model cannot be given, now or later."""


class Processor(Protocol):
    """A family's processor, as far as conversations need it."""

    tokenizer: Any
    image_token: str
    image_token_id: int

    def apply_chat_template(self, conversation: list[dict], **options: Any) -> Any:
        """Return the model inputs of a conversation."""


def first_conversation(image: bytes, prompt: str, model_settings: Mapping[str, Any]) -> list[dict]:
    """Return the messages of the first round, from the model's entry in the config.

    The image file is read and resized only by `encode`. A template that does not contain the image
    exactly once is a `PromptError`.
    """
    rounds = model_settings.get("second_round") or {}
    picture = _picture(image, rounds.get("first_scale", 1.0), rounds)
    user = _user_turn(model_settings.get("template", TEMPLATE), picture, prompt)
    system = model_settings.get("system")
    return [{"role": "system", "content": system}, user] if system else [user]


def second_conversation(
    first: list[dict], first_text: str, image: bytes, model_settings: dict
) -> list[dict] | None:
    """Return the messages of the second round, or None if there is none.

    There is one if the model's settings have a `second_round` and its first text contains a whole
    tool call; what follows the last call (the end token) is not part of the history. The history
    keeps the first, smaller image, and the new turn shows the image at full size, as in the
    authors' program; or it names what is wrong with the call (`tool_calls.problem`).
    """
    settings = model_settings.get("second_round")
    calls = tool_calls.calls(first_text)
    if settings is None or not calls:
        return None
    call_turn = {"role": "assistant", "content": first_text[: calls[-1].end]}
    if error := tool_calls.problem(calls):
        words = {"type": "text", "text": ERROR_TURN.replace("{error}", error)}
        return [*first, call_turn, {"role": "user", "content": [words]}]
    return [*first, call_turn, _user_turn(settings["template"], _picture(image, 1.0, settings))]


def encode(processor: Processor, messages: list[dict], prefix: str = "") -> dict:
    """Return a conversation as model inputs.

    The model continues `prefix`, the beginning of the assistant's turn.

    Returns
    -------
    dict of str to torch.Tensor
        Inputs of `generate`, as a batch of one: `input_ids` and `attention_mask` of shape (1,
        tokens), pixels, and whatever else the family needs, but no `token_type_ids`, which no model
        accepts.

    Raises
    ------
    PromptError
        If an image cannot be read or has a shape that the model rejects, if a text contains the
        model's image token, or if the inputs contain no image token (the model would answer blind).
    """
    _check_texts(processor, messages, prefix)
    messages, resize = _with_pictures(processor, _with_raw_scaled(messages))
    try:
        inputs = processor.apply_chat_template(
            messages,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={} if resize else {"images_kwargs": {"do_resize": False}},
        )
    except ValueError as error:
        raise PromptError(f"the processor refuses the conversation: {error}") from error
    if not (inputs["input_ids"] == processor.image_token_id).any():
        raise PromptError(
            "no image token in the model's inputs: the chat template dropped the image"
        )
    inputs = {key: value for key, value in inputs.items() if key != "token_type_ids"}
    return _continued(processor, inputs, prefix) if prefix else inputs


def require_images(processor: Processor, model_settings: Mapping[str, Any]) -> None:
    """Check that a chat template renders the model's first turn, with the image in it.

    Raises
    ------
    ValueError
        If the template fails, or writes no image token: it is one for text only, for instance.
    """
    messages = first_conversation(b"", "Describe the image.", model_settings)
    try:
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        problem = "" if processor.image_token in text else "it writes no image token"
    except Exception as error:  # a template's code may fail in any way
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise ValueError(
            f"the chat template cannot show the model an image ({problem}). It may be one for "
            "text only; needed is one for turns that are lists of "
            f'{{"type": "image"}} and {{"type": "text"}}, and that writes {processor.image_token} '
            "for an image. In a copy of the processor's files, put it into chat_template.jinja, "
            "and name the copy as repository of the model's `processor`"
        )


def fitted(processor: Processor, messages: list[dict]) -> list[dict]:
    """Return a conversation in which no image is left to be scaled: for an engine elsewhere.

    A raw image that is scaled becomes a PNG file, which a processor sees like any other. If another
    image has a `scale` other than 1, all images of the conversation get the size at which the model
    sees them (a processor resizes all or none), as PNG files marked `"fitted": True`: no engine may
    resize them again. Others are returned unchanged, after a check that their images are readable.

    Raises
    ------
    PromptError
        If an image cannot be read or fitted, or the family does not scale images as in training.
    """
    messages = _with_raw_scaled(messages)
    pictures, resize = _with_pictures(processor, messages)
    if resize:
        return messages
    return _each_image(
        pictures, lambda part: part | {"image": png_file(part["image"]), "fitted": True}
    )


def _check_texts(processor: Processor, messages: list[dict], prefix: str) -> None:
    """Check that no text, also of an earlier round, has a token that stands for an image or video.

    It would count as one; not all versions of transformers reject it.
    """
    texts = [
        (message["role"], part.get("text", ""))
        for message in messages
        for part in parts_of(message)
    ]
    for medium in ("image", "video"):
        token = getattr(processor, f"{medium}_token", None)
        for role, text in [*texts, ("prefix", prefix)]:
            if token and token in text:
                raise PromptError(f"the {role} text holds the model's {medium} token {token}")


def png_file(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def parts_of(message: dict) -> list[dict]:
    """Return the parts of a message; a string is one part."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _picture(image: bytes, scale: float, rounds: Mapping[str, Any]) -> dict:
    """Return an image part; `rounds` is the model's `second_round`, if it has one."""
    raw = {"raw": True} if rounds.get("scaling") == "evaluation" else {}
    return {"type": "image", "image": image, "scale": scale, **raw}


def _user_turn(template: str, picture: dict, prompt: str = "") -> dict:
    """Return a user turn. It is split at `{image}` first, because a prompt may contain braces."""
    pieces = template.split("{image}")
    if len(pieces) != 2:
        raise PromptError(
            f"a template contains {{image}} once, not {len(pieces) - 1} times: {template!r}"
        )
    before, after = (
        {"type": "text", "text": piece.replace("{prompt}", prompt)} for piece in pieces
    )
    parts = [part for part in (before, picture, after) if part.get("text") != ""]
    return {"role": "user", "content": parts}


def _each_image(messages: list[dict], change: Callable[[dict], dict]) -> list[dict]:
    """Return the messages with every image part changed; strings stay strings."""

    def changed(content: str | list[dict]) -> str | list[dict]:
        if isinstance(content, str):
            return content
        return [change(part) if part["type"] == "image" else part for part in content]

    return [message | {"content": changed(message["content"])} for message in messages]


def _with_raw_scaled(messages: list[dict]) -> list[dict]:
    """Return the messages with raw images scaled, after which they are like any other."""
    if not any(part.get("raw") for message in messages for part in parts_of(message)):
        return messages

    def scaled(part: dict) -> dict:
        image = opened(part["image"])
        shown = _raw_scaled(image, part["scale"])
        data = part["image"] if shown is image else png_file(shown)
        return {"type": "image", "image": data, "scale": 1.0}

    return _each_image(messages, lambda part: scaled(part) if part.get("raw") else part)


def _raw_scaled(image: Image.Image, scale: float) -> Image.Image:
    """Return an image scaled as VisionThink's evaluation does it (`scripts/vllm_tool.py`).

    Sides are rounded down. An image with a side below `LEAST_SIDE` is then enlarged until it has
    none; no other is.
    """
    if scale != 1.0:
        width, height = (max(1, int(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    if (least := min(image.size)) < LEAST_SIDE:
        width, height = (max(LEAST_SIDE, side * LEAST_SIDE // least) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def _with_pictures(processor: Processor, messages: list[dict]) -> tuple[list[dict], bool]:
    """Return the messages with opened images, and whether the processor should resize them."""
    images = [part for m in messages for part in parts_of(m) if part["type"] == "image"]
    read = _each_image(messages, lambda part: part | {"image": opened(part["image"])})
    if any(part.get("fitted") for part in images):
        return read, False
    if all(part["scale"] == 1.0 for part in images):
        return read, True
    fit: Callable[[Image.Image, float], Image.Image] | None = getattr(processor, "fit", None)
    if fit is None:
        raise PromptError(
            f"{type(processor).__module__} cannot scale images as in training: "
            "second_round.scaling has to be evaluation"
        )
    try:
        return _each_image(
            read, lambda part: part | {"image": fit(part["image"], part["scale"])}
        ), False
    except ValueError as error:
        raise PromptError(f"the image cannot be scaled: {error}") from error


def opened(data: bytes) -> Image.Image:
    """Return an image file as an RGB image; raise `PromptError` if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            return file.convert("RGB")
    except MemoryError:
        raise  # not the file's fault
    except Exception as error:  # damaged files raise errors of many kinds
        raise PromptError(f"image cannot be read: {error}") from error


def _continued(processor: Processor, inputs: dict, prefix: str) -> dict:
    """Return the inputs with the tokens of a prefix appended."""
    import torch  # only here: building conversations does not need it

    ids = processor.tokenizer(prefix, add_special_tokens=False, return_tensors="pt")[
        "input_ids"
    ].long()
    more = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": torch.zeros_like(ids),
    }
    return inputs | {
        key: torch.cat([inputs[key], tokens], dim=1)
        for key, tokens in more.items()
        if key in inputs
    }
