"""Requests for which aiokafka's own versions are too old.

A topic that was deleted and created again has a new ID, which is therefore the identity of the log (`dyff.bus.port.Topic.epoch`).
An offset that a transaction has just committed is returned only if stable offsets are requested; otherwise it is the previous one.
Only the newer request to change a topic's configuration leaves entries alone that it doesn't name.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, CompactArray, CompactString, Int8, Int16, Int32, Int64, Schema, String, TaggedFields


class _Uuid:
    """16 bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: object) -> bytes:
        return data.read(16)  # type: ignore[attr-defined,no-any-return]

    @classmethod
    def repr(cls, value: bytes) -> str:
        return value.hex()


class TopicsResponse(Response):
    """Metadata, version 12."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replica_nodes", CompactArray(Int32)),
                        ("isr_nodes", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TopicsRequestStruct(RequestStruct):
    """Metadata, version 12."""

    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TopicsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(Request[TopicsRequestStruct]):
    """Requests topics by name; does not create them automatically."""

    API_KEY = 3

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, request_struct_class: type[TopicsRequestStruct]) -> TopicsRequestStruct:
        return request_struct_class([(bytes(16), name, {}) for name in self._names], False, False, {})


UNSTABLE_OFFSET_COMMIT = 88
"""The offsets of an ended transaction are still being written: retry."""


class OffsetsResponse(Response):
    """OffsetFetch, version 7."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("committed_offset", Int64),
                        ("committed_leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetsRequestStruct(RequestStruct):
    """OffsetFetch, version 7."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetsResponse
    SCHEMA = Schema(
        ("group_id", CompactString("utf-8")),
        (
            "topics",
            CompactArray(("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class OffsetsRequest(Request[OffsetsRequestStruct]):
    """Requests a group's offsets of one topic, including those committed by ended transactions."""

    API_KEY = 9

    def __init__(self, group: str, topic: str, partitions: int) -> None:
        self._group, self._topic, self._partitions = group, topic, partitions

    def build(self, request_struct_class: type[OffsetsRequestStruct]) -> OffsetsRequestStruct:
        return request_struct_class(self._group, [(self._topic, list(range(self._partitions)), {})], True, {})


_TOPIC = 2
_SET = 0


class SetConfigsResponse(Response):
    """IncrementalAlterConfigs, version 0."""

    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class SetConfigsRequestStruct(RequestStruct):
    """IncrementalAlterConfigs, version 0."""

    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = SetConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("configs", Array(("name", String("utf-8")), ("config_operation", Int8), ("value", String("utf-8")))),
            ),
        ),
        ("validate_only", Boolean),
    )


class SetConfigsRequest(Request[SetConfigsRequestStruct]):
    """Sets these entries of a topic's configuration, and leaves the others."""

    API_KEY = 44

    def __init__(self, topic: str, configs: Mapping[str, str]) -> None:
        self._topic, self._configs = topic, configs

    def build(self, request_struct_class: type[SetConfigsRequestStruct]) -> SetConfigsRequestStruct:
        return request_struct_class([(_TOPIC, self._topic, [(name, _SET, value) for name, value in self._configs.items()])], False)
