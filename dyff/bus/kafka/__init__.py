"""The bus on Kafka or Redpanda, through aiokafka.

Events may be published by anyone (an idempotent producer); a partition's owner writes in transactions, under a
transactional ID of its own, so that the broker itself refuses the owner before it. Readers see committed records only.
"""

from dyff.bus.kafka.bus import KafkaBus
from dyff.bus.kafka.connecting import Connection

__all__ = ["Connection", "KafkaBus"]
