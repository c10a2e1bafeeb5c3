"""Promoted columns: every value that fits is in its column, every other one is counted, none is lost."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kinds import Kind
from app.parquet.annotation import Annotation
from app.parquet.extraction import Extractor
from app.parquet.layout import Layout
from app.parquet.promotion import PromotedType, Promotion, parse_path, refuse_conflicts
from app.publish.rotation import WriterPolicy
from app.schema import SCHEMAS
from tests.parquet.bench import Bench
from tests.parquet.rows import event_rows

FILE: Final = "7/2026-01-01/events.parquet"
NEXT_FILE: Final = "7/2026-01-01/events-0001.parquet"

PROMOTIONS: Final = [
    Promotion(Kind.EVENTS, ("page",), "page", PromotedType.STRING),
    Promotion(Kind.EVENTS, ("n",), "n", PromotedType.INTEGER),
    Promotion(Kind.EVENTS, ("cart", "total sum"), "total", PromotedType.DOUBLE),
    Promotion(Kind.EVENTS, ("cart", "paid"), "paid", PromotedType.BOOLEAN),
]


def extract(payloads: list[bytes]) -> tuple[list[list[Any]], Counter[str]]:
    columns, unfit = Extractor(PROMOTIONS).extract(pa.chunked_array([payloads], pa.binary()))
    return [column.to_pylist() for column in columns], unfit


def test_members_become_values() -> None:
    payloads = [b'{"page":"/a","n":1,"cart":{"total sum":2,"paid":true},"x":[{}]}', b'{"n":null}', b" {} "]
    columns, unfit = extract(payloads)
    assert columns == [["/a", None, None], [1, None, None], [2.0, None, None], [True, None, None]]
    assert unfit == Counter()


def test_what_does_not_fit_is_null_and_counted_and_the_rest_of_the_row_stays() -> None:
    payloads = [
        b'{"page":5,"n":"1"}',
        b'{"page":"/b","n":9223372036854775808}',
        b'{"page":"/c","n":1.5,"cart":{"total sum":"2","paid":false}}',
        b'{"page":"/d","cart":7}',
        b'{"page":"/e","n":7}',
    ]
    columns, unfit = extract(payloads)
    assert columns[0] == [None, "/b", "/c", "/d", "/e"]
    assert columns[1] == [None, None, None, None, 7]
    assert columns[3] == [None, None, False, None, None]
    assert unfit == {"page": 1, "n": 3, "total": 2, "paid": 1}


@pytest.mark.parametrize("payload", [b"[1]", b"5", b'"x"', b"not json", b"", b'{"page":', b"[" * 100_000])
def test_a_payload_that_is_no_object_costs_no_other_row_its_values(payload: bytes) -> None:
    columns, unfit = extract([b'{"n":1}', payload, b'{"n":2}'])
    assert columns[1] == [1, None, 2]
    assert unfit == dict.fromkeys(("page", "n", "total", "paid"), 1)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["page", "n"]), inner),
    max_leaves=5,
)
OBJECTS: Final = st.dictionaries(
    st.sampled_from(["page", "n", "x", "cart"]),
    JSON | st.dictionaries(st.sampled_from(["total sum", "paid", "page"]), JSON),
)


@settings(deadline=None)
@given(st.lists(JSON | OBJECTS, max_size=12))
def test_any_json_gives_what_a_walk_through_it_gives(values: list[Any]) -> None:
    columns, unfit = extract([json.dumps(value).encode() for value in values])
    counted: Counter[str] = Counter()
    for promotion, column in zip(PROMOTIONS, columns, strict=True):
        expected = [walk(value, promotion, counted) for value in values]
        assert [(type(value), value) for value in column] == [(type(value), value) for value in expected]
    assert unfit == counted


def walk(value: Any, promotion: Promotion, counted: Counter[str]) -> Any:
    """The same as the extractor, one value at a time and by the json module."""
    for depth, member in enumerate(promotion.path):
        if value is None and depth:
            return None
        if not isinstance(value, dict):
            counted[promotion.name] += 1
            return None
        value = value.get(member)
    fitting = {
        PromotedType.STRING: isinstance(value, str),
        PromotedType.INTEGER: isinstance(value, int)
        and not isinstance(value, bool)
        and -(2**63) <= value < 2**63,
        PromotedType.DOUBLE: isinstance(value, int | float) and not isinstance(value, bool),
        PromotedType.BOOLEAN: isinstance(value, bool),
    }[promotion.type]
    if value is None or fitting:
        if value is not None and promotion.type is PromotedType.DOUBLE:
            assert math.isfinite(value)
            return float(value)
        return value
    counted[promotion.name] += 1
    return None


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$.page", ("page",)),
        ("$.cart.total", ("cart", "total")),
        ('$.cart."a name"', ("cart", "a name")),
        ('$."$.x"', ("$.x",)),
        ("$.utm-source", ("utm-source",)),
    ],
)
def test_paths_are_read(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", "$", "page", "$.", "$..a", "$.a[0]", "$.a.", '$."a', "$.a b", "x$.a", "$.a\n"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path to a field"):
        parse_path(text)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Promotion(Kind.EVENTS, ("x",), "PAGE", PromotedType.STRING), "are named"),
        (Promotion(Kind.EVENTS, ("x",), "device_id", PromotedType.STRING), "have a column"),
        (Promotion(Kind.EVENTS, ("page",), "x", PromotedType.STRING), "overlap"),
        (Promotion(Kind.EVENTS, ("page", "x"), "x", PromotedType.STRING), "overlap"),
        (Promotion(Kind.EVENTS, ("cart",), "x", PromotedType.STRING), "overlap"),
    ],
)
def test_promotions_that_contradict_each_other_are_refused(other: Promotion, message: str) -> None:
    refuse_conflicts(PROMOTIONS)
    with pytest.raises(ValueError, match=message):
        refuse_conflicts([*PROMOTIONS, other])


def test_a_promotion_added_later_goes_on_in_the_next_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(1, event_rows(0, 10))
    bench.flush()
    old = (bench.data / FILE).read_bytes()
    bench.policy = WriterPolicy(layout=Layout(promotions=tuple(PROMOTIONS)))
    bench.start()
    for lsn in (2, 3):
        bench.put(lsn, event_rows(lsn * 10, 10))
        bench.flush()
    assert (bench.data / FILE).read_bytes() == old
    assert [(file.path, file.rows, file.sealed) for file in bench.manifest.files()] == [
        (FILE, 10, True),
        (NEXT_FILE, 20, False),
    ]
    table = pq.read_table(bench.data / NEXT_FILE)
    assert table.schema.names == [*SCHEMAS[Kind.EVENTS].names, "page", "n", "total", "paid"]
    assert table["n"].to_pylist() == list(range(20, 40)) == table["timestamp"].to_pylist()
    assert table["page"].null_count == 20
    assert all(table.schema.field(name).nullable for name in ("page", "n", "total", "paid"))


def test_a_bad_row_is_set_aside_without_its_promoted_values(tmp_path: Path) -> None:
    layout = Layout(promotions=tuple(PROMOTIONS), annotations=frozenset(Annotation))
    bench = Bench(tmp_path, policy=WriterPolicy(layout=layout))
    rows = event_rows(0, 3)
    payload = pa.array([b'{"n":1}', b'{"n":2,"x":"\xff"}', b'{"n":3}'], pa.binary())
    bench.put(1, pa.RecordBatch.from_arrays([*rows.columns[:-1], payload], schema=rows.schema))
    assert bench.flush().flushed_rows == 2
    assert pq.read_table(bench.data / FILE)["n"].to_pylist() == [1, 3]
    [record] = bench.manifest.quarantined()
    kept = pa.ipc.open_file(bench.paths.quarantine / record.path).read_all()
    assert kept.schema.equals(SCHEMAS[Kind.EVENTS], check_metadata=False)
    assert kept["payload"].to_pylist() == [b'{"n":2,"x":"\xff"}']
