"""One archive of class tars (`winter21_whole.tar.gz`, `fall11_whole.tar`), unpacked first.

Of several archives of one class the first counts; the others are excluded as `clashing_archive`.
"""

from dataclasses import replace

from imagenet_think.images.sources import class_tars

SOURCE = replace(
    class_tars.SOURCE,
    paper="files from the archive of all class archives",
    required_keys=("archive",),
    made_by="unpacking",
)
