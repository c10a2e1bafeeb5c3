"""What can go wrong with a request, or with the configuration, in the service's own words.

No status codes here: `api.error_responses` is the only module that maps these to HTTP.
"""

from collections.abc import Sequence


class ConfigurationError(Exception):
    """The configuration cannot be used; `messages` holds one line per mistake."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = tuple(messages)


class RequestError(Exception):
    """A request that is not carried out. `code` is for programs, the message says what to do about it."""

    code = "bad_request"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class MalformedBatch(RequestError):
    """The body cannot be read as a batch at all; no row of it was taken."""

    code = "malformed_batch"


class Unauthenticated(RequestError):
    """No key, or one that names no workspace."""

    code = "unauthenticated"


class Forbidden(RequestError):
    """A valid key that may not do this."""

    code = "forbidden"


class NotFound(RequestError):
    code = "not_found"


class QueryLimit(RequestError):
    """A question that costs more than one may: time, memory, rows or bytes of its answer."""

    code = "query_limit"


class BodyTooLarge(RequestError):
    """More bytes (also after decompression) or more rows than one request may carry."""

    code = "too_large"


class UnsupportedMedia(RequestError):
    """A content type or content encoding this call does not read."""

    code = "unsupported_media_type"


class BatchIdReused(RequestError):
    """The batch id was used before, with another payload."""

    code = "batch_id_reused"


class Refused(RequestError):
    """A batch that is fine, and cannot be taken now: send it again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class WorkspaceOverShare(Refused):
    """One workspace holds more than its share of what the service can buffer."""

    code = "workspace_over_share"


class QuotaExceeded(WorkspaceOverShare):
    """One workspace has sent more than its quota lets it."""

    code = "quota_exceeded"


class Overloaded(Refused):
    """The service as a whole is at one of its limits, is starting, or is draining."""

    code = "overloaded"


class NoRoomInGroup(RequestError):
    """A batch that comes with the next group; no client is told."""

    code = "no_room_in_group"


class DiskFull(Refused):
    """Free space or inodes are below the low water mark."""

    code = "disk_full"


class OutcomeUnknown(RequestError):
    """The batch was being made durable when the disk failed: it may or may not be in the journal."""

    code = "outcome_unknown"


class DecoderFailed(RequestError):
    """A defect of the service showed itself on this batch; nothing of it was taken."""

    code = "internal_error"
