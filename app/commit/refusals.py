"""The messages for clients about batches that were not stored."""

from app.commit.store import NotStored
from app.errors import DiskFull, OutcomeUnknown, Overloaded, RequestError

RETRY_DISK_S = 30
RETRY_STOPPING_S = 5


def refusal(not_stored: NotStored) -> RequestError:
    match not_stored.why:
        case "disk_full":
            return DiskFull(f"The journal's disk is full: {not_stored}", retry_after_s=RETRY_DISK_S)
        case "stopping":
            return Overloaded(
                "The service is stopping; send the batch again.", retry_after_s=RETRY_STOPPING_S
            )
        case "outcome_unknown":
            return OutcomeUnknown(
                "The service could not confirm that this batch is durable: it may or may not be stored. "
                "Send it again with the same batch id (Idempotency-Key), then it is stored exactly once."
            )
