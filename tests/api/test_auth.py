"""Where an API key may stand, and what is said when there is none."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.api_keys import ApiKeys
from app.api.auth import Credential, authenticate, find_key
from app.errors import Unauthenticated

KEY = bytes(range(16))
HEX = KEY.hex().encode()
OTHER = b"\xee" * 16
KEYS = ApiKeys({KEY: 7, OTHER: 4294967295})


def basic(user: bytes, password: bytes = b"") -> bytes:
    return b"Basic " + b64encode(user + b":" + password)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([(b"authorization", b"Bearer " + HEX)], b""),
        ([(b"authorization", b"bearer  " + HEX.upper() + b" ")], b""),
        ([(b"x-api-key", HEX)], b""),
        ([(b"x-api-key", HEX.upper())], b""),
        ([(b"authorization", basic(HEX))], b""),
        ([(b"authorization", b"Basic " + b64encode(HEX))], b""),
        ([], b"token=" + HEX),
        ([], b"wait=file&token=" + HEX),
        ([], b"token=%30" + HEX[1:]),
        ([(b"x-api-key", HEX), (b"authorization", b"Bearer " + HEX.upper())], b"token=" + HEX),
    ],
)
def test_a_key_is_found_wherever_clients_put_it(headers, query):
    assert authenticate([(b"host", b"x"), *headers], query, KEYS) == Credential(KEY, 7)


@pytest.mark.parametrize(
    ("headers", "query", "says"),
    [
        ([], b"", "No API key was sent"),
        ([], b"mytoken=" + HEX, "No API key was sent"),
        ([(b"x-api-key", HEX[:-1])], b"", "exactly 32 hex"),
        ([(b"x-api-key", HEX + b"0")], b"", "exactly 32 hex"),
        ([(b"x-api-key", HEX[:-1] + b"g")], b"", "exactly 32 hex"),
        ([(b"x-api-key", b"")], b"", "exactly 32 hex"),
        ([(b"authorization", b"Digest " + HEX)], b"", "exactly 32 hex"),
        ([(b"authorization", HEX)], b"", "exactly 32 hex"),
        ([(b"authorization", basic(HEX, b"secret"))], b"", "exactly 32 hex"),
        ([(b"authorization", b"Basic ???")], b"", "exactly 32 hex"),
        ([], b"token=", "exactly 32 hex"),
        ([(b"x-api-key", b"0" * 32)], b"", "Unknown API key"),
        ([(b"x-api-key", HEX)], b"token=" + OTHER.hex().encode(), "differ"),
        ([(b"x-api-key", HEX), (b"x-api-key", OTHER.hex().encode())], b"", "differ"),
    ],
)
def test_without_one_known_key_the_request_is_refused_with_a_reason(headers, query, says):
    with pytest.raises(Unauthenticated, match=says) as caught:
        authenticate(headers, query, KEYS)
    assert HEX.decode() not in caught.value.message


@given(
    st.lists(
        st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary(max_size=80)), max_size=3
    ),
    st.binary(max_size=80),
)
def test_any_bytes_are_a_key_of_16_bytes_none_or_a_refusal(headers, query):
    try:
        key = find_key(headers, b"token=" + query)
    except Unauthenticated:
        return
    assert key is not None
    assert len(key) == 16
