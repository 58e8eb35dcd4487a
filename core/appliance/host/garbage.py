"""No search for garbage while a configuration is made.

A large one is half a million objects that live as long as it does, and hardly any of them are in circles. Python's
collector looks through all of them again and again while they are made, which takes as long as making them, and once in
a while later, when the whole node stands still for it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 100_000
"""New objects of a block that are not looked through afterwards either: 5 MB of a configuration. They are freed as
always when nothing refers to them; what is lost are the few circles that happened to be there at such a moment."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Circles of objects are not looked for while the block lasts; blocks may overlap."""
    if not gc.isenabled():  # another block has switched it off, and will switch it on
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > LARGE:
            gc.freeze()
        gc.enable()
