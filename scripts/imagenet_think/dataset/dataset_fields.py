"""Descriptions of the dataset's columns, for its card and its Croissant file."""

_OF_IMAGE = {
    "image": "The image, prepared: upright, RGB, bounded in size.",
    "question": "The prompt, without what a model's template adds; null if responses are imported.",
    "image_id": "Name of the image: the stem of its file, its path in a folder, or its SHA-256.",
    "wnid": "Id of the image's class: for ImageNet's classes, of the WordNet synset.",
    "lemma": "Name of the class: the first of its lemmas in the table of classes.",
    "domain": "Domain of the class in the table of classes, for ImageNet a category of WordNet.",
    "source_sha256": "SHA-256 of the image file in the source, to check a copy; null if unknown.",
    "sha256": "SHA-256 of the prepared image; null if the run had no images.",
    "width": "Width of the prepared image in pixels; null if the run had no images.",
    "height": "Height of the prepared image in pixels; null if the run had no images.",
}
_OF_TEACHER = {
    "think": "Thinking of teacher {k}, without marks; null where there is none.",
    "answer": "Answer of teacher {k}, without marks.",
    "model": "Key of teacher {k} in the pipeline's config.",
    "revision": "Commit of teacher {k} on the hub, or digest of its files or of the imported ones.",
    "prompt_id": "Name of the prompt for teacher {k}; null where imported.",
    "decoding": "How the tokens of teacher {k} were chosen, as JSON; null where imported.",
    "finish_reason": "Why teacher {k} stopped: stop, length, loop or error.",
    "forced": "Whether the thinking of teacher {k} was cut off and closed by force.",
    "prompt_tokens": "Tokens of the prompt of teacher {k}, including those of the image.",
    "completion_tokens": "Tokens that teacher {k} generated.",
    "status": "Result of parsing the response of teacher {k}: ok, or a named failure.",
    "engine": "What ran teacher {k}: transformers, vllm or server; imported if it ran elsewhere.",
    "seed": "Seed with which teacher {k} was sampled; null where imported.",
    "fingerprint": "Digest of image, model, prompt and decoding behind the text of teacher {k}.",
    "text": "Response of teacher {k} as generated or imported, with special tokens.",
}

DESCRIPTIONS = _OF_IMAGE | {
    f"{name}_{k}": text.format(k=k) for name, text in _OF_TEACHER.items() for k in (1, 2)
}
"""The columns of all forms and configurations, by name."""
