"""What the product relies on of an object store and of its client, against a real S3 server."""

import sys
import uuid
import zlib
from collections.abc import Iterator

import msgspec
import pytest

from app.object_store.client import StoreMisconfigured
from app.object_store.policy import StorePolicy
from app.object_store.store import NameTaken, ObjectStore, StoreUnavailable
from app.object_store.url import Provider, StoreUrl
from tests.support.fault_proxy import AT_ONCE, Fault, FaultProxy, no_fault
from tests.support.s3_server import S3Server, policy_of

CONTENT = bytes(range(256)) * 5000
CRC = zlib.crc32(CONTENT)
PATH = "7/2026-11-22/events.parquet"


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def policy(proxy: FaultProxy) -> StorePolicy:
    return policy_of(proxy.endpoint, f"test/{uuid.uuid4()}", request_timeout_s=1.0)


@pytest.fixture
def store(policy: StorePolicy) -> ObjectStore:
    return ObjectStore(policy)


def test_what_was_created_is_read_whole_and_in_parts(store: ObjectStore) -> None:
    store.create(PATH, CONTENT, CRC)
    facts = store.facts(PATH)
    assert facts is not None
    assert facts.size == len(CONTENT)
    assert facts.etag is not None
    assert store.read(PATH, 0, len(CONTENT)) == CONTENT
    assert store.read(PATH, 1000, 7) == CONTENT[1000:1007]
    assert store.read(PATH, len(CONTENT) - 3, 100) == CONTENT[-3:]
    assert store.crc(PATH, len(CONTENT)) == CRC


def test_an_object_that_is_not_there_has_no_facts(store: ObjectStore) -> None:
    assert store.facts(PATH) is None
    with pytest.raises(FileNotFoundError):
        store.read(PATH, 0, 1)


def test_creating_the_same_again_changes_nothing(store: ObjectStore) -> None:
    store.create(PATH, CONTENT, CRC)
    before = store.facts(PATH)
    store.create(PATH, CONTENT, CRC)
    assert store.facts(PATH) == before


@pytest.mark.parametrize("other", [b"other", bytes(len(CONTENT))], ids=["shorter", "of the same size"])
@pytest.mark.parametrize("conditional", [True, False])
def test_other_bytes_of_that_name_stay(policy: StorePolicy, conditional: bool, other: bytes) -> None:
    ObjectStore(policy).create(PATH, other, zlib.crc32(other))
    store = ObjectStore(replaced(policy, conditional_writes=conditional))
    with pytest.raises(NameTaken, match=r"events\.parquet"):
        store.create(PATH, CONTENT, CRC)
    assert store.read(PATH, 0, len(CONTENT)) == other


def test_without_conditional_writes_the_same_again_is_found_too(policy: StorePolicy) -> None:
    store = ObjectStore(replaced(policy, conditional_writes=False))
    store.create(PATH, CONTENT, CRC)
    before = store.facts(PATH)
    store.create(PATH, CONTENT, CRC)
    assert store.facts(PATH) == before


def test_names_are_those_below_the_directory(store: ObjectStore) -> None:
    paths = [f"7/2026-11-22/events-{number:04}.parquet" for number in range(60)]
    for path in [*paths, "7/2026-11-23/events.parquet", "77/2026-11-22/events.parquet"]:
        store.create(path, b"x", zlib.crc32(b"x"))
    assert sorted(store.names("7/2026-11-22")) == paths
    assert list(store.names("8")) == []


def test_removing_twice_is_harmless(store: ObjectStore) -> None:
    store.create(PATH, CONTENT, CRC)
    store.remove(PATH)
    store.remove(PATH)
    assert store.facts(PATH) is None


@pytest.mark.parametrize("fault", list(Fault))
def test_a_fault_is_an_error_of_the_store_after_one_request_and_mends(
    store: ObjectStore, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.choose = lambda method, path: fault
    with pytest.raises(StoreUnavailable, match=r"events\.parquet"):
        store.create(PATH, CONTENT, CRC)
    assert proxy.requests == {"PUT": 1}
    assert proxy.fired == {fault: 1}

    proxy.choose = no_fault
    store.create(PATH, CONTENT, CRC)
    assert store.read(PATH, 0, len(CONTENT)) == CONTENT


@pytest.mark.parametrize("fault", AT_ONCE)
def test_a_fault_of_reading_is_an_error_of_the_store(
    store: ObjectStore, proxy: FaultProxy, fault: Fault
) -> None:
    store.create(PATH, CONTENT, CRC)
    proxy.choose = lambda method, path: fault
    with pytest.raises(StoreUnavailable, match=r"events\.parquet"):
        store.read(PATH, 0, 10)
    with pytest.raises(StoreUnavailable, match=r"events\.parquet"):
        store.facts(PATH)
    with pytest.raises(StoreUnavailable, match="2026"):
        list(store.names("7/2026-11-22"))


def test_a_store_that_is_not_there_is_an_error_of_the_store(store: ObjectStore, proxy: FaultProxy) -> None:
    proxy.down()
    with pytest.raises(StoreUnavailable, match=r"events\.parquet"):
        store.create(PATH, CONTENT, CRC)
    proxy.up()
    store.create(PATH, CONTENT, CRC)


def test_wrong_credentials_are_named(policy: StorePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StoreUnavailable, match="SignatureDoesNotMatch"):
        ObjectStore(policy).create(PATH, CONTENT, CRC)


def test_a_bucket_that_is_not_there_is_named(policy: StorePolicy) -> None:
    elsewhere = ObjectStore(replaced(policy, url=StoreUrl(Provider.S3, "no-such-bucket")))
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        elsewhere.create(PATH, CONTENT, CRC)


def test_a_client_that_cannot_be_made_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StoreMisconfigured, match=r"^az://files/day: .*Account must be specified$"):
        ObjectStore(StorePolicy(url=StoreUrl(Provider.AZURE, "files", "day")))


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StoreMisconfigured, match=r"pip install 'parquet-sink\[s3\]'"):
        ObjectStore(StorePolicy(url=StoreUrl(Provider.S3, "files")))


def replaced(policy: StorePolicy, **values: object) -> StorePolicy:
    return msgspec.structs.replace(policy, **values)
