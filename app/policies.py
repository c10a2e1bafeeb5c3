"""What the parts of a service are told, all together."""

import msgspec

from app.admission import AdmissionPolicy
from app.deduplication import DeduplicationPolicy
from app.gathering import GroupPolicy
from app.journal.policy import JournalPolicy
from app.parquet.rotation import WriterPolicy
from app.submission import DecodePolicy


class Policies(msgspec.Struct, frozen=True):
    """What each part is told; see there."""

    admission: AdmissionPolicy
    decode: DecodePolicy
    group: GroupPolicy
    deduplication: DeduplicationPolicy
    journal: JournalPolicy
    writer: WriterPolicy
    reserve_bytes: int
    drain_timeout_s: float
    publish_timeout_s: float
