"""Conversations: what is said to a model about an image, and how that becomes its inputs.

A model's entry in the config says how the run's prompt is put to it: `system` (system message),
`template` (the user's text, where `{image}` marks the image's place and `{prompt}` the run's
prompt) and, for a model that may ask for the image at full size, `second_round` (`first_scale`, the
share of width and height that the first round shows, and the `template` of the second user turn).
"""

import re

from PIL import Image

TEMPLATE = "{image}{prompt}"
TOOL_CALL = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)
ROUND_SEPARATOR = "\n"
"""Stands between the texts of two rounds, each as generated, its end token included."""


class PromptError(ValueError):
    """A conversation that would not say to the model what it should."""


def first_conversation(image: Image.Image, prompt: str, model_settings: dict) -> list[dict]:
    """Return the messages of the first round.

    Parameters
    ----------
    image
        The prepared image. It is not resized here: a part with a `scale` other than 1 is resized by
        `encode`.
    prompt
        The run's prompt.
    model_settings
        The model's entry in the config.

    Returns
    -------
    list of dict
        Messages in the form of transformers' chat templates. System and assistant turns are
        strings, user turns lists of parts; an image part is `{"type": "image", "image": image,
        "scale": share}`.
    """
    scale = (model_settings.get("second_round") or {}).get("first_scale", 1.0)
    user = _user_turn(model_settings.get("template", TEMPLATE), image, scale, prompt)
    system = model_settings.get("system")
    return [*([_turn("system", system)] if system else []), user]


def second_conversation(
    first: list[dict], first_text: str, image: Image.Image, model_settings: dict
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
        The prepared image.
    model_settings
        The model's entry in the config.
    """
    settings = model_settings.get("second_round")
    call = TOOL_CALL.search(first_text) if settings else None
    if call is None:
        return None
    said = _turn("assistant", first_text[: call.end()])
    return [*first, said, _user_turn(settings["template"], image, 1.0)]


def encode(processor, messages: list[dict]) -> dict:
    """Return a conversation as model inputs.

    Parameters
    ----------
    processor
        A family's processor.
    messages
        From `first_conversation` or `second_conversation`.

    Returns
    -------
    dict of str to torch.Tensor
        What `generate` takes, as a batch of one: `input_ids` and `attention_mask` of shape (1,
        tokens), pixels, and what else the family needs. `token_type_ids`, which no model takes, are
        left out.

    Raises
    ------
    PromptError
        If a text holds the model's image token, or no image token stands in the inputs (a blind
        answer would follow).
    """
    parts = [(message["role"], part) for message in messages for part in _parts(message)]
    for role, part in parts:
        if processor.image_token in part.get("text", ""):
            raise PromptError(
                f"the {role} text holds the model's image token {processor.image_token}"
            )
    fitted = any(part.get("scale", 1.0) != 1.0 for _, part in parts)
    if fitted:
        messages = [_fitted(processor, message) for message in messages]
    inputs = processor.apply_chat_template(
        messages,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"images_kwargs": {"do_resize": False}} if fitted else {},
    )
    if not (inputs["input_ids"] == processor.image_token_id).any():
        raise PromptError(
            "no image token in the model's inputs: the chat template dropped the image"
        )
    return {key: value for key, value in inputs.items() if key != "token_type_ids"}


def _turn(role: str, text: str) -> dict:
    # Some chat templates take a plain string only, where no image is.
    return {"role": role, "content": text}


def _parts(message: dict) -> list[dict]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _user_turn(template: str, image: Image.Image, scale: float, prompt: str = "") -> dict:
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


def _fitted(processor, message: dict) -> dict:
    """Return the message with its images at the size the model shall see them."""
    if isinstance(message["content"], str):
        return message
    if not hasattr(processor, "fit"):
        raise PromptError(f"{type(processor).__module__} cannot scale images: no second_round here")
    content = [
        {**part, "image": processor.fit(part["image"], part["scale"])}
        if part["type"] == "image"
        else part
        for part in message["content"]
    ]
    return {**message, "content": content}
