"""The bus on Kafka or Redpanda, through aiokafka.

Anyone can publish events (with an idempotent producer). A partition's owner writes in transactions, under its own
transactional ID, so that the broker itself fences the previous owner. Readers see committed records only.
"""

from dyff.bus.kafka.bus import KafkaBus
from dyff.bus.kafka.connecting import Connection

__all__ = ["Connection", "KafkaBus"]
