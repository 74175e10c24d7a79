"""What the server answers, as typed values. Fields that are not listed are ignored: a later server may send more."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from dyff.entities.answers import AccessGrant, APIKey, Documentation, Downlink, LogEntry, Progress, SignedURL, Status, WorkflowLogs
from dyff.entities.identity import Entity
from dyff.entities.kinds.dataset import Dataset
from dyff.entities.kinds.evaluation import Evaluation
from dyff.entities.kinds.inference_service import ForeignInferenceService, InferenceService
from dyff.entities.kinds.inference_service import StoredInterface as InferenceInterface
from dyff.entities.kinds.inference_session import InferenceSession, InferenceSessionAndToken
from dyff.entities.kinds.inference_session import SessionAsUsed as EvaluationSession
from dyff.entities.kinds.model import Model
from dyff.entities.kinds.model import StoredModelArtifact as ModelArtifact
from dyff.entities.stored import Artifact, Digest, File, Volume

__all__ = [
    "APIKey", "AccessGrant", "Artifact", "Dataset", "Digest", "Documentation", "Downlink", "Entity", "Evaluation", "EvaluationSession",
    "File", "ForeignInferenceService", "Identified", "InferenceInterface", "InferenceService", "InferenceSession",
    "InferenceSessionAndToken", "LogEntry", "Model", "ModelArtifact", "Progress", "SignedURL", "Status", "Volume", "WorkflowLogs", "read",
]  # fmt: skip


class Identified(Protocol):
    """What names an entity."""

    @property
    def kind(self) -> str:
        """Such as `Dataset`."""
        ...

    @property
    def id(self) -> str:
        """Its ID."""
        ...


T = TypeVar("T")


def read(value: Any, form: type[T]) -> T:
    """`value`, decoded JSON, as `form`."""
    return msgspec.convert(value, form)
