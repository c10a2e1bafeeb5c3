"""String values of JSON rows: free text, and words of a fixed set."""

from collections.abc import Mapping, Sequence
from itertools import chain

import msgspec
from msgspec import Raw

from app.decode.json.columns import joined
from app.decode.json.refusals import JsonRefusals, read_in_parts

_texts = msgspec.json.Decoder(list[str | None]).decode
_text = msgspec.json.Decoder(str | None).decode


def read_texts(texts: Sequence[Raw], field: str, refusals: JsonRefusals) -> Sequence[str | None]:
    """The strings of one column, None where the value is null; rows with another type are refused.

    texts: the JSON text of each row's value, `null` where the row does not have the key.
    """
    parts = read_in_parts(texts, _together, _parse, field, refusals, absent=None)
    return list(chain.from_iterable(parts)) if len(parts) > 1 else parts[0]


def _together(texts: Sequence[Raw]) -> list[str | None] | None:
    try:
        values: list[str | None] = _texts(joined(texts))
    except msgspec.DecodeError:
        return None
    return values


def read_required_texts(texts: Sequence[Raw], field: str, refusals: JsonRefusals) -> list[str]:
    """As `read_texts`; rows without the value, or with an empty one, are refused."""
    values = read_texts(texts, field, refusals)
    if None in values or "" in values:
        for row, value in enumerate(values):
            if not value:
                refusals.refuse(row, field, "is required: a non-empty string")
    return [value or "" for value in values]


def read_words(
    texts: Sequence[Raw], words: Mapping[str | None, str], field: str, refusals: JsonRefusals
) -> list[str]:
    """The values of a column that allows only certain words, in upper or lower case.

    words: the stored word by the lower-case word that was sent; under None the word to store if the row does
    not have the key. Without None the key is required. Returns one stored word per row; rows with an unknown
    word are refused.
    """
    sent = read_texts(texts, field, refusals)
    known = list(map(words.get, sent))
    if None in known:
        known = [word or _any_case(sent[row], words, row, field, refusals) for row, word in enumerate(known)]
    return [word or "" for word in known] if None in known else known  # type: ignore[return-value]


def _any_case(
    word: str | None, words: Mapping[str | None, str], row: int, field: str, refusals: JsonRefusals
) -> str:
    if word is None:
        refusals.refuse(row, field, f"is required: {_alternatives(words)}")
    elif (stored := words.get(word.lower())) is not None:
        return stored
    else:
        refusals.refuse(row, field, f"unknown: {word[:40]!r}; must be {_alternatives(words)}")
    return ""


def _alternatives(words: Mapping[str | None, str]) -> str:
    stored = list(dict.fromkeys(words.values()))
    return ", ".join(stored[:-1]) + " or " + stored[-1]


def _parse(text: Raw) -> str | None:
    try:
        value: str | None = _text(text)
    except msgspec.DecodeError:
        raise ValueError("must be a string") from None
    return value
