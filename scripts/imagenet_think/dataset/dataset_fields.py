"""Descriptions of the dataset's columns, for its card and its Croissant file."""

_OF_IMAGE = {
    "image": "The picture, prepared: upright, RGB, bounded in size.",
    "question": "The prompt for both teachers, without what a model's template adds.",
    "image_id": "Name of the image: the stem of its file in ImageNet, such as n00005787_11054.",
    "wnid": "WordNet id of the image's class.",
    "lemma": "Name of the class: the first of its WordNet lemmas.",
    "domain": "Broad domain of the class, such as artifact, animal or plant.",
    "source_sha256": "SHA-256 of the image file in the source, by which a copy is checked.",
    "sha256": "SHA-256 of the prepared image, which the teachers saw.",
    "width": "Width of the prepared image in pixels.",
    "height": "Height of the prepared image in pixels.",
}
_OF_TEACHER = {
    "think": "Thinking of teacher {k}: its response up to the answer, without marks.",
    "answer": "Answer of teacher {k}, which follows its thinking, without marks.",
    "model": "Key of teacher {k} in the pipeline's config.",
    "revision": "Commit of teacher {k} on the hub, or digest of its files if it is a local folder.",
    "prompt_id": "Name of the prompt for teacher {k}.",
    "decoding": "How the tokens of teacher {k} were chosen, as JSON; null where imported.",
    "finish_reason": "Why teacher {k} stopped: stop, length, loop or error.",
    "forced": "Whether the thinking of teacher {k} was cut off and closed by force.",
    "prompt_tokens": "Tokens of the prompt of teacher {k}, including those of the image.",
    "completion_tokens": "Tokens that teacher {k} generated.",
    "status": "Result of parsing the response of teacher {k}: ok, or a named failure.",
    "engine": "What ran teacher {k}: transformers, vllm or server; null where imported.",
    "seed": "Seed with which teacher {k} was sampled.",
    "fingerprint": "Digest of image, model, prompt and decoding behind the text of teacher {k}.",
    "text": "Response of teacher {k} as generated, with special tokens.",
}

DESCRIPTIONS = _OF_IMAGE | {
    f"{name}_{k}": text.format(k=k) for name, text in _OF_TEACHER.items() for k in (1, 2)
}
"""The columns of all forms and configurations, by name."""
