"""The key file: what it may hold, what its errors say, and that it can be replaced while in use."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.api_keys import ApiKeys, KeyFileError, parse_keys

A = "000102030405060708090a0b0c0d0e0f"
B = "FFEEDDCCBBAA99887766554433221100"


def test_lines_with_names_comments_and_either_case_are_read():
    text = f"# keys\n\n{A}:1\n  {B.lower()} : 4294967295 : Shop  # the second\n"
    assert parse_keys(text, "keys") == {bytes.fromhex(A): 1, bytes.fromhex(B): 4294967295}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (A, "expected hexkey:workspace_id"),
        (f"{A[:-1]}:1", "exactly 32 hex characters"),
        (f"{A}00:1", "exactly 32 hex characters"),
        (f"{A[:-1]}g:1", "exactly 32 hex characters"),
        (f"{A}:", "workspace id"),
        (f"{A}:-1", "workspace id"),
        (f"{A}:4294967296", "workspace id"),
        (f"{A}:{'9' * 5000}", "workspace id"),
        (f"{A}:٣", "workspace id"),
        (f"{B}:2", "earlier line"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_never_printed(line, says):
    with pytest.raises(KeyFileError) as caught:
        parse_keys(f"# one\n{B}:1\n{line}\n", "the-file")
    message = str(caught.value)
    assert "the-file, line 3" in message
    assert says in message
    assert A[:-2] not in message
    assert B not in message


@given(st.text())
def test_any_text_is_keys_or_a_key_file_error(text):
    try:
        keys = parse_keys(text, "keys")
    except KeyFileError:
        return
    assert all(len(key) == 16 and 0 <= workspace < 2**32 for key, workspace in keys.items())


@given(st.dictionaries(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1)))
def test_what_was_written_is_found(workspaces):
    text = "\n".join(f"{key.hex()}:{workspace}" for key, workspace in workspaces.items())
    keys = ApiKeys(parse_keys(text, "keys"))
    assert len(keys) == len(workspaces)
    assert all(keys.lookup(key) == workspace for key, workspace in workspaces.items())


def test_a_replaced_file_counts_from_the_next_look(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text(f"{A}:1\n")
    keys = ApiKeys.load(path)
    assert not keys.reload_if_changed()
    replace(path, f"{B}:2\n")
    assert keys.reload_if_changed()
    assert keys.lookup(bytes.fromhex(A)) is None
    assert keys.lookup(bytes.fromhex(B)) == 2
    assert not keys.reload_if_changed()


def test_a_key_file_behind_a_swapped_link_is_read_again(tmp_path: Path):
    """The way Kubernetes replaces the files of a secret."""
    (tmp_path / "old").write_text(f"{A}:1\n")
    (tmp_path / "new").write_text(f"{A}:2\n")
    link = tmp_path / "keys"
    link.symlink_to("old")
    keys = ApiKeys.load(link)
    (tmp_path / "next").symlink_to("new")
    os.replace(tmp_path / "next", link)
    assert keys.reload_if_changed()
    assert keys.lookup(bytes.fromhex(A)) == 2


@pytest.mark.parametrize("broken", ["nonsense\n", None, "\udcff"])
def test_a_broken_or_missing_new_file_leaves_the_old_keys_and_is_logged_once(tmp_path, caplog, broken):
    path = tmp_path / "keys"
    path.write_text(f"{A}:1\n")
    keys = ApiKeys.load(path)
    if broken is None:
        path.unlink()
    else:
        replace(path, broken)
    with caplog.at_level(logging.ERROR):
        assert not keys.reload_if_changed()
        assert not keys.reload_if_changed()
    assert len(caplog.records) == 1
    assert "stay in effect" in caplog.text
    assert keys.lookup(bytes.fromhex(A)) == 1
    replace(path, f"{A}:7\n")
    assert keys.reload_if_changed()
    assert keys.lookup(bytes.fromhex(A)) == 7


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path):
    with pytest.raises(KeyFileError, match="cannot be read"):
        ApiKeys.load(tmp_path / "none")
    with pytest.raises(KeyFileError, match="cannot be read"):
        ApiKeys.load(tmp_path)


def replace(path: Path, text: str) -> None:
    new = path.with_name("new-keys")
    new.write_bytes(text.encode("utf-8", "surrogateescape"))
    new.replace(path)
