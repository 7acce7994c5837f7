"""Conversations: what is said to a model about an image, and how that becomes its inputs.

A model's entry in the config says how the run's prompt is put to it: `system` (system message),
`template` (the user's text, where `{image}` marks the image's place and `{prompt}` the run's
prompt) and, for a model that may ask for the image at full size, `second_round` (`first_scale`, the
share of width and height that the first round shows, and the `template` of the second user turn).

Messages have the form of transformers' chat templates: system and assistant turns are strings, user
turns lists of parts. An image part is `{"type": "image", "image": bytes, "scale": share}` with the
bytes of an image file, so that a conversation that waits costs no more memory than its file.
"""

import io
import re
from collections.abc import Callable

from PIL import Image

TEMPLATE = "{image}{prompt}"
TOOL_CALL = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)


class PromptError(ValueError):
    """A request that would not say to the model what it should, and never will."""


def first_conversation(image: bytes, prompt: str, model_settings: dict) -> list[dict]:
    """Return the messages of the first round.

    Parameters
    ----------
    image
        The image file. It is not read here, nor resized: that is done by `encode`.
    prompt
        The run's prompt.
    model_settings
        The model's entry in the config.

    Returns
    -------
    list of dict
        Messages.

    Raises
    ------
    PromptError
        If the template does not show the image once.
    """
    scale = (model_settings.get("second_round") or {}).get("first_scale", 1.0)
    user = _user_turn(model_settings.get("template", TEMPLATE), image, scale, prompt)
    system = model_settings.get("system")
    return [*([_turn("system", system)] if system else []), user]


def second_conversation(
    first: list[dict], first_text: str, image: bytes, model_settings: dict
) -> list[dict] | None:
    """Return the messages of the second round, or None where there is none.

    There is one where the model's settings have a `second_round` and its first text holds a whole
    call of the tool. The history keeps the first, smaller image, and the new turn shows the whole
    one, as in the authors' own program.

    Parameters
    ----------
    first
        The first round's messages.
    first_text
        What the model answered. What follows its call (the end token) does not go into the history.
    image
        The image file.
    model_settings
        The model's entry in the config.
    """
    settings = model_settings.get("second_round")
    call = TOOL_CALL.search(first_text) if settings else None
    if call is None:
        return None
    said = _turn("assistant", first_text[: call.end()])
    return [*first, said, _user_turn(settings["template"], image, 1.0)]


def encode(processor, messages: list[dict], prefix: str = "") -> dict:
    """Return a conversation as model inputs.

    Parameters
    ----------
    processor
        A family's processor.
    messages
        From `first_conversation` or `second_conversation`, also after `fitted`.
    prefix
        What the model is made to have said already: it stands behind the opening of the
        assistant's turn.

    Returns
    -------
    dict of str to torch.Tensor
        What `generate` takes, as a batch of one: `input_ids` and `attention_mask` of shape (1,
        tokens), pixels, and what else the family needs. `token_type_ids`, which no model takes, are
        left out.

    Raises
    ------
    PromptError
        If an image cannot be read or has a shape that the model refuses, if a text holds the
        model's image token, or if no image token stands in the inputs (a blind answer would
        follow).
    """
    check_texts(processor, messages, prefix)
    messages, resize = _with_pictures(processor, messages)
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


def fitted(processor, messages: list[dict]) -> list[dict]:
    """Return a conversation whose images have the size at which the model shall see them.

    Where an image has a `scale` other than 1, all images of the conversation are resized (a
    processor resizes all or none) and marked `"fitted": True`: no engine may resize them again.
    Other conversations are returned as they are, their images checked to be readable.

    Parameters
    ----------
    processor
        A family's processor.
    messages
        From `first_conversation` or `second_conversation`.

    Returns
    -------
    list of dict
        Messages, resized images as PNG files.

    Raises
    ------
    PromptError
        If an image cannot be read or fitted, or the family does not scale images.
    """
    pictures, resize = _with_pictures(processor, messages)
    if resize:
        return messages
    return _each_image(
        pictures, lambda part: part | {"image": png_file(part["image"]), "fitted": True}
    )


def check_texts(processor, messages: list[dict], prefix: str = "") -> None:
    """Check that no text holds the model's image token.

    It would be taken for an image. The run's prompt may hold it, and so may what a model said in an
    earlier round.

    Raises
    ------
    PromptError
        If one does; the message names the token and whose text it is.
    """
    texts = [(message["role"], part) for message in messages for part in _parts(message)]
    texts.append(("prefix", {"text": prefix}))
    for role, part in texts:
        if processor.image_token in part.get("text", ""):
            raise PromptError(
                f"the {role} text holds the model's image token {processor.image_token}"
            )


def png_file(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _turn(role: str, text: str) -> dict:
    # Some chat templates take a plain string only, where no image is.
    return {"role": role, "content": text}


def _parts(message: dict) -> list[dict]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _user_turn(template: str, image: bytes, scale: float, prompt: str = "") -> dict:
    """Return a user turn. It is taken apart at `{image}` first: a prompt may hold braces."""
    pieces = template.split("{image}")
    if len(pieces) != 2:
        raise PromptError(
            f"a template holds {{image}} once, not {len(pieces) - 1} times: {template!r}"
        )
    before, after = (
        {"type": "text", "text": piece.replace("{prompt}", prompt)} for piece in pieces
    )
    picture = {"type": "image", "image": image, "scale": scale}
    parts = [part for part in (before, picture, after) if part.get("text") != ""]
    return {"role": "user", "content": parts}


def _each_image(messages: list[dict], change: Callable[[dict], dict]) -> list[dict]:
    """Return the messages with every image part changed; strings stay strings."""
    return [
        message
        if isinstance(message["content"], str)
        else message
        | {
            "content": [
                change(part) if part["type"] == "image" else part for part in message["content"]
            ]
        }
        for message in messages
    ]


def _with_pictures(processor, messages: list[dict]) -> tuple[list[dict], bool]:
    """Return the messages with opened images, and whether the processor is to resize them."""
    images = [part for m in messages for part in _parts(m) if part["type"] == "image"]
    opened = _each_image(messages, lambda part: part | {"image": _opened(part["image"])})
    if any(part.get("fitted") for part in images):
        return opened, False
    if all(part["scale"] == 1.0 for part in images):
        return opened, True
    if not hasattr(processor, "fit"):
        raise PromptError(f"{type(processor).__module__} cannot scale images: no second_round here")
    try:
        return _each_image(
            opened, lambda part: part | {"image": processor.fit(part["image"], part["scale"])}
        ), False
    except ValueError as error:
        raise PromptError(f"the image cannot be scaled: {error}") from error


def _opened(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as file:
            return file.convert("RGB")
    except MemoryError:
        raise  # not the file's fault
    except Exception as error:  # damaged files raise errors of many kinds
        raise PromptError(f"image cannot be read: {error}") from error


def _continued(processor, inputs: dict, prefix: str) -> dict:
    """Return the inputs with the tokens of a prefix behind them."""
    import torch  # here alone: what only builds conversations starts without it

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
