"""Repairs almost-valid JSON, as JavaScript and Python write it, which strict parsers refuse.

JavaScript can cut texts between the halves of an emoji, and escapes the remaining half, which becomes U+FFFD.
Python writes `NaN`, `Infinity` and `-Infinity` as if they were numbers; they become null.
"""

import re
from typing import Final

HALF_PAIR: Final = "half_surrogate_pair"
NOT_A_NUMBER: Final = "not_a_number"
BOTH: Final = "half_surrogate_pair_and_not_a_number"

_SUSPICIOUS: Final = re.compile(rb"\\u[dD][89a-fA-F]|NaN|Infinity")

# Each match is all text up to a fault, and the fault; text without one is run through once. A string without
# an end goes to the end of its line: else each quotation mark in it would be tried as a beginning.
_HALF_PAIR: Final = re.compile(
    rb"((?:[^\\]++"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)*+)"
    rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}",
    re.DOTALL,
)
_NOT_A_NUMBER: Final = re.compile(
    rb'((?:[^"NI-]++|"(?:[^"\\\n]++|\\[^\n]?)*+(?:"|(?=\n)|\Z)|-(?!Infinity)|N(?!aN)|I(?!nfinity))*+)'
    rb"(?:NaN|-?Infinity)"
)
_LAST_HALF: Final = (b"\n\\ud800", b"\\ufffd")
_LAST_NAN: Final = (b"\nNaN", b"null")


def repaired(text: bytes) -> tuple[bytes, str]:
    """The text with its faults repaired, and the reason; the same text and no reason if it has none."""
    if not _SUSPICIOUS.search(text):
        return text, ""
    whole = _replace(_HALF_PAIR, text, *_LAST_HALF)
    both = _replace(_NOT_A_NUMBER, whole, *_LAST_NAN)
    if whole is text:
        return both, NOT_A_NUMBER if both is not whole else ""
    return both, BOTH if both is not whole else HALF_PAIR


def _replace(pattern: re.Pattern[bytes], text: bytes, last: bytes, replacement: bytes) -> bytes:
    """The text with all faults replaced; the same object if it has none.

    A fault is put behind the text, so that the pattern matches to its end, and taken off again: without one
    there, the engine would look for the text behind the last fault from each of its bytes on.
    """
    replaced, count = pattern.subn(rb"\1" + replacement.replace(b"\\", rb"\\"), text + last)
    return replaced[: -1 - len(replacement)] if count > 1 else text
