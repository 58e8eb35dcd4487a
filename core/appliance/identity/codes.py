"""The short code that an operator carries from one node to the other: ``XXXX-XXXX``, 40 bits."""

from __future__ import annotations

from collections.abc import Callable

from appliance.errors import UsageError

CODE_CHARACTERS = 8
"""Without the hyphen; five bits each."""
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without I, L, O (read as 1, 1, 0) and U."""
_ALIKE = str.maketrans("ILO", "110", " -")
_INPUT_MAX = 32


def make_code(random: Callable[[int], bytes]) -> str:
    """Make a code of 40 random bits, without the hyphen.

    Args:
        random: Gives that many random bytes.
    """
    number = int.from_bytes(random(CODE_CHARACTERS * 5 // 8), "big")
    return "".join(_LETTERS[number >> 5 * place & 31] for place in range(CODE_CHARACTERS))


def shown(code: str) -> str:
    """The code as people read it."""
    return f"{code[:4]}-{code[4:]}"


def normal_code(text: str) -> str:
    """The code that somebody typed: capitals, blanks and hyphens do not matter, nor do letters that look alike.

    Raises:
        UsageError: It cannot be a code.
    """
    code = text[:_INPUT_MAX].upper().translate(_ALIKE)
    if len(code) != CODE_CHARACTERS or not set(code) <= set(_LETTERS):
        raise UsageError(
            f"{text[:_INPUT_MAX]!r} is not a code for pairing",
            hint="It has the form XXXX-XXXX and is shown by 'appliance pair --listen' on the other node.",
        )
    return code
