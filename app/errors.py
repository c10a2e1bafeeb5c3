"""The errors of requests and of the configuration, independent of HTTP.

No status codes here: `api.error_responses` is the only module that maps these to HTTP.
"""

from collections.abc import Sequence


class ConfigurationError(Exception):
    """The configuration cannot be used; `messages` holds one line per mistake."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = tuple(messages)


class RequestError(Exception):
    """A refused request. `code` is for programs, the message says what to do about it."""

    code = "bad_request"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class MalformedBatch(RequestError):
    """The body cannot be read as a batch at all; no row of it was accepted."""

    code = "malformed_batch"


class Unauthenticated(RequestError):
    """No key, or an unknown one."""

    code = "unauthenticated"


class Forbidden(RequestError):
    """The key is valid but not allowed to do this."""

    code = "forbidden"


class NotFound(RequestError):
    code = "not_found"


class QueryLimit(RequestError):
    """The query exceeds a limit: time, memory, rows or bytes of its answer."""

    code = "query_limit"


class BodyTooLarge(RequestError):
    """More bytes (also after decompression) or more rows than one request may carry."""

    code = "too_large"


class UnsupportedMedia(RequestError):
    """A content type or content encoding that this call does not support."""

    code = "unsupported_media_type"


class BatchIdReused(RequestError):
    """The batch id was used before, with another payload."""

    code = "batch_id_reused"


class Refused(RequestError):
    """A valid batch that cannot be accepted now: send it again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class WorkspaceOverShare(Refused):
    """One workspace holds more than its share of what the service can buffer."""

    code = "workspace_over_share"


class QuotaExceeded(WorkspaceOverShare):
    """One workspace has sent more than its quota allows."""

    code = "quota_exceeded"


class Overloaded(Refused):
    """The service as a whole is at one of its limits, is starting, or is draining."""

    code = "overloaded"


class NoRoomInGroup(RequestError):
    """The batch is postponed to the next group; the client does not notice."""

    code = "no_room_in_group"


class DiskFull(Refused):
    """Free space or inodes are below the low-water mark."""

    code = "disk_full"


class OutcomeUnknown(RequestError):
    """The batch was being made durable when the disk failed: it may or may not be in the journal."""

    code = "outcome_unknown"


class DecoderFailed(RequestError):
    """This batch triggered a bug in the service; no row of it was accepted."""

    code = "internal_error"
