"""Class tars that the pipeline draws itself (the miniature)."""

from dataclasses import replace

from imagenet_think.images.sources import class_tars

SOURCE = replace(
    class_tars.SOURCE,
    paper="drawings that the pipeline made itself, not photographs",
    card="drawn by the pipeline itself, so none of them is a photograph",
    owner="pipeline",
    not_comparable="the images are drawings, not photographs of ImageNet-21k",
    required_keys=("classes", "drawings_per_class", "drawings_step"),
    made_by="drawing",
    path_check="output",
)
