"""No search for garbage while a configuration is made.

A large one is half a million objects that live as long as it does, and hardly any of them are in circles. Python's
collector looks through all of them again and again while they are made, which takes as long as making them.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
        gc.enable()
