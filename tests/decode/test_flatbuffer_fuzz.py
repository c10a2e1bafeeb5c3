"""Damaged batches: no exception, no byte of a neighbour's body, no effect on a neighbour."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from app.kinds import Kind
from app.submission import Decoded
from tests.decode.decoding import BINARY, KEY, POLICY, RECEIVED_MS, decode, rows_of
from tests.support import flatbuffer_oracle as oracle
from tests.support.flatbuffer_batches import hand_laid, official
from tests.support.flatbuffer_verifier import is_intact

VECTORS = {path.stem: path.read_bytes() for path in (Path(__file__).parents[1] / "vectors").glob("*.fbs")}
MUTANTS_AT_ONCE = 192
CHECKED_AT_ONCE = 48
SEED = 20_240_501


def neighbour(kind: Kind, secret: bytes) -> bytes:
    """A batch whose every value is the secret, from its first byte to its last."""
    row = {
        "timestamp": int.from_bytes(secret * 5, "little"),
        "event_type": secret[0] % 6 + 1 if kind is Kind.EVENTS else 2,
        "level": secret[0] % 9,
        **dict.fromkeys(("device_id", "session_id"), secret * 16),
        **dict.fromkeys(("event_name", "service", "source", "entity"), secret * 40),
        "payload": b'"' + secret * 60 + b'"',
    }
    return hand_laid(kind, [row, row, row], KEY)


NEIGHBOURS = {secret: {kind: neighbour(kind, secret) for kind in Kind} for secret in (b"K", b"u")}


def between(mutants: list[bytes], secret: bytes) -> list[bytes]:
    """Every mutant with a neighbour before and behind it, of all kinds in turn."""
    kinds = list(Kind)
    group = [NEIGHBOURS[secret][kinds[0]]]
    for i, mutant in enumerate(mutants, 1):
        group += [mutant, NEIGHBOURS[secret][kinds[i % 3]]]
    return group


def mutants_part(decoded: Decoded) -> list[Any]:
    """Verdicts and rows of the odd submissions."""
    rows = []
    for group in decoded.groups:
        row = 0
        for owner, count in zip(group.owners, group.counts, strict=True):
            if owner % 2:
                rows.append((owner, group.rows.slice(row, count)))
            row += count
    verdicts = [
        (v.kind, v.accepted, v.rejected, v.refusals, type(v.error), str(v.error), v.batch_id)
        for v in decoded.verdicts[1::2]
    ]
    return [verdicts, sorted(rows, key=lambda item: item[0])]


ALONE = {
    secret: {kind: rows_of(decode([body]), 0) for kind, body in bodies.items()}
    for secret, bodies in NEIGHBOURS.items()
}


def assert_harmless(mutants: list[bytes], policy: Any) -> Decoded:
    """Decode between two kinds of neighbours: the mutants' results must be the same, the neighbours whole."""
    results = {secret: decode(between(mutants, secret), policy) for secret in NEIGHBOURS}
    first, second = (mutants_part(decoded) for decoded in results.values())
    assert first == second
    for secret, decoded in results.items():
        assert all(verdict.accepted == 3 for verdict in decoded.verdicts[::2])
        middle = len(mutants) // 2
        for i in {0, middle, len(mutants)}:
            kind = decoded.verdicts[2 * i].kind
            assert kind is not None
            assert rows_of(decoded, 2 * i) == ALONE[secret][kind]
    return results[b"K"]


def assert_as_the_oracles_say(decoded: Decoded, index: int, body: bytes) -> None:
    """Out of bounds is what the verifier says; the rest the official accessors read, to the same end."""
    verdict = decoded.verdicts[index]
    if not is_intact(body):
        assert verdict.error is not None
    elif verdict.error is not None:
        assert "does not lie within" not in str(verdict.error)
        assert "too few for a FlatBuffer" not in str(verdict.error)
    else:
        _, wanted = oracle.rows_of(body, RECEIVED_MS, json_required=True)
        rows = rows_of(decoded, index)
        accepted = [row for row in wanted if isinstance(row, dict)]
        assert [{name: row[name] for name in accepted[0]} for row in rows] == accepted
        assert verdict.rejected == len(wanted) - len(accepted)


def run(mutants: Iterator[bytes], rng: random.Random) -> None:
    while some := list(islice(mutants, MUTANTS_AT_ONCE)):
        decoded = assert_harmless(some, POLICY)
        alone = decode(some[-1:])
        assert alone.verdicts[0] == decoded.verdicts[-2] or alone.verdicts[0].error is not None
        assert str(alone.verdicts[0].error) == str(decoded.verdicts[-2].error)
        assert rows_of(alone, 0) == rows_of(decoded, len(decoded.verdicts) - 2)
        for i in rng.sample(range(len(some)), min(CHECKED_AT_ONCE, len(some))):
            assert_as_the_oracles_say(decoded, 2 * i + 1, some[i])


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    print(f"seed {SEED}")
    return random.Random(SEED)


def positions(body: bytes) -> Iterator[int]:
    """All, but of a long run of the same byte only the ends."""
    for i, byte in enumerate(body):
        if not (4 <= i < len(body) - 4 and body[i - 4 : i + 5] == bytes([byte]) * 9 and byte):
            yield i


@pytest.mark.parametrize("name", VECTORS)
def test_every_flipped_bit(name: str, rng: random.Random) -> None:
    body = VECTORS[name]
    flips = [1 << bit for bit in range(8)] + [0xFF]
    run((_flipped(body, i, flip) for i in positions(body) for flip in flips), rng)


def _flipped(body: bytes, at: int, flip: int) -> bytes:
    return body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]


@pytest.mark.parametrize("name", VECTORS)
def test_every_truncation(name: str, rng: random.Random) -> None:
    body = VECTORS[name]
    run((body[:end] for end in range(len(body)) if end < 1000 or end > len(body) - 100), rng)


@pytest.mark.parametrize("name", VECTORS)
def test_offsets_that_point_anywhere(name: str, rng: random.Random) -> None:
    body = VECTORS[name][:500]
    run((_pointed(body, rng) for _ in range(4000)), rng)


def _pointed(body: bytes, rng: random.Random) -> bytes:
    """One or two words point to somewhere in or just outside of the body, the ends being likelier."""
    out = bytearray(body)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(0, len(body) - 3, 2)
        to = rng.choice(
            [rng.randrange(-4, len(body) + 4), len(body) - rng.randrange(-2, 24), rng.randrange(40)]
        )
        match rng.randrange(4):
            case 0:
                out[at : at + 4] = (to - at).to_bytes(4, "little", signed=True)
            case 1:
                out[at : at + 4] = (at - to).to_bytes(4, "little", signed=True)
            case 2:
                out[at : at + 4] = max(0, to).to_bytes(4, "little")
            case _:
                out[at : at + 2] = (max(0, to) % 65536).to_bytes(2, "little")
    return bytes(out)


def test_random_splices_and_overwritten_words(rng: random.Random) -> None:
    bodies = [*VECTORS.values(), *_built()]
    run((_spliced(bodies, rng) for _ in range(12_000)), rng)


def _built() -> list[bytes]:
    row = {
        "event_type": 1,
        "source": "s",
        "entity": "e",
        "service": "w",
        "payload": b'{"a":1}',
        "timestamp": 5,
    }
    rows = [row, {**row, "device_id": KEY, "event_name": "n", "level": 3}]
    return [
        *(official(kind, rows, KEY, batch_id=9, source_ip=bytes(16)) for kind in Kind),
        *(hand_laid(kind, rows, KEY, layout="service", shift=3) for kind in Kind),
    ]


def _spliced(bodies: list[bytes], rng: random.Random) -> bytes:
    body = bytearray(rng.choice(bodies)[:600])
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body))
        match rng.randrange(4):
            case 0:
                word = rng.choice(
                    [0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, rng.randrange(700)]
                )
                body[at : at + 4] = word.to_bytes(4, "little")
            case 1:
                other = rng.choice(bodies)
                start = rng.randrange(len(other))
                body[at : at + 8] = other[start : start + rng.randint(0, 40)]
            case 2:
                body[at : at + 2] = rng.randrange(64).to_bytes(2, "little")
            case _:
                del body[at : at + rng.randint(1, 8)]
        body = body or bytearray(1)
    return bytes(body)


def test_bytes_that_are_no_flatbuffer(rng: random.Random) -> None:
    run((rng.randbytes(rng.randrange(80)) for _ in range(4000)), rng)


def test_a_group_of_nothing_but_damage() -> None:
    bodies = [b"", b"\0" * 3, b"\xff" * 64, VECTORS["logs"][:70]]
    decoded = decode(bodies, BINARY)
    assert decoded.groups == []
    assert all(verdict.error is not None for verdict in decoded.verdicts)
