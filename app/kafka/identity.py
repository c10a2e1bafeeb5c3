"""The topic that a destination belongs to: written once, and compared at each start.

File names carry the Kafka partition and the entry's number. Another topic would count from the beginning
again, find its names taken, and lose its rows.
"""

import msgspec

from app.kafka.client import KafkaMisconfigured
from app.kafka.shared_place import COMMITS, SharedPlace

PATH = f"{COMMITS}/topic.json"


class TopicIdentity(msgspec.Struct, frozen=True):
    """identity: Kafka's id of the topic."""

    topic: str
    identity: str


def claim(place: SharedPlace, topic: str, identity: str) -> None:
    """Raises KafkaMisconfigured when the place is another topic's; OSError."""
    wanted = TopicIdentity(topic, identity)
    if place.create(PATH, msgspec.json.encode(wanted)):
        return
    found = msgspec.json.decode(place.read(PATH), type=TopicIdentity)
    if found != wanted:
        raise KafkaMisconfigured(
            f"the destination of the files belongs to topic {found.topic} (id {found.identity}), not to "
            f"{topic} (id {identity}); each topic needs a path of its own"
        )
