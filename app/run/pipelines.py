"""The pipelines that take batches, with the store of their process."""

from collections.abc import Callable
from typing import Any

from app.commit.group import Group, body_bytes, workspace_of
from app.commit.group_queue import GroupPolicy
from app.commit.journal_store import JournalStore
from app.commit.pipeline import Pipeline, PipelineObserver
from app.commit.store import Store
from app.submission import DecodePolicy, Submission

NewPipeline = Callable[
    [JournalStore, GroupPolicy, DecodePolicy, PipelineObserver, Callable[[BaseException], None]],
    Pipeline[Any, Any],
]
"""Makes the pipeline that takes batches, with the journal as its store."""


def pipeline_of_batches(
    store: Store[Group],
    policy: GroupPolicy,
    decode: DecodePolicy,
    observer: PipelineObserver,
    on_fatal: Callable[[BaseException], None],
) -> Pipeline[Submission, Group]:
    """For a process that takes batches itself."""
    return Pipeline(
        lambda pending: Group(pending, decode), body_bytes, workspace_of, store, policy, observer, on_fatal
    )
