"""The server's answers as typed values. Unknown fields are ignored, because a later server may send more."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec

from dyff.entities.analyses import Curve, Score
from dyff.entities.answers import (
    AccessGrant,
    AccountUsage,
    APIKey,
    Documentation,
    Downlink,
    LogEntry,
    Progress,
    SignedURL,
    Status,
    WorkflowLogs,
)
from dyff.entities.changes import Change
from dyff.entities.comparables import Choice, Comparables
from dyff.entities.comparisons import ComparedPair, ComparedSystem, Comparisons
from dyff.entities.consoles import Caller, Overview
from dyff.entities.differing import DifferingItem, DifferingItems
from dyff.entities.dossiers import Dossier
from dyff.entities.identity import Entity
from dyff.entities.invitations import Invitation, InvitationUse, NewInvitation
from dyff.entities.kinds.dataset import Dataset
from dyff.entities.kinds.evaluation import Evaluation
from dyff.entities.kinds.family import Family, FamilyMember
from dyff.entities.kinds.hazard import Hazard
from dyff.entities.kinds.inference_service import ForeignInferenceService, InferenceService
from dyff.entities.kinds.inference_service import StoredInterface as InferenceInterface
from dyff.entities.kinds.inference_session import InferenceSession, InferenceSessionAndToken
from dyff.entities.kinds.inference_session import SessionAsUsed as EvaluationSession
from dyff.entities.kinds.measurement import Measurement
from dyff.entities.kinds.method import Method
from dyff.entities.kinds.model import Model
from dyff.entities.kinds.model import StoredModelArtifact as ModelArtifact
from dyff.entities.kinds.module import Module
from dyff.entities.kinds.report import Report
from dyff.entities.kinds.safety_case import SafetyCase
from dyff.entities.kinds.use_case import UseCase
from dyff.entities.leaderboards import Leaderboard, RankedSystem
from dyff.entities.relations import Dependents, History, Related, Transition
from dyff.entities.samples import Cell, Sample, Samples
from dyff.entities.stored import Artifact, Digest, File, Volume
from dyff.entities.system import QuotasInUse, System
from dyff.sdk.agreement import FilesAgreement, ItemsAgreement, Reproduced, ScoreAgreement

__all__ = [
    "APIKey", "AccessGrant", "AccountUsage", "Artifact", "Caller", "Cell", "Change", "Choice", "Comparables", "ComparedPair",
    "ComparedSystem", "Comparisons", "Curve", "Dataset", "Dependents", "DifferingItem", "DifferingItems", "Digest",
    "Documentation", "Dossier", "Downlink", "Entity", "Evaluation", "EvaluationSession", "Family", "FamilyMember", "File",
    "FilesAgreement", "ForeignInferenceService", "Hazard", "History", "Identified", "InferenceInterface", "InferenceService",
    "InferenceSession", "InferenceSessionAndToken", "Invitation", "InvitationUse", "ItemsAgreement", "Leaderboard", "LogEntry",
    "Measurement", "Method", "Model", "ModelArtifact", "Module", "NewInvitation", "Overview", "Progress", "QuotasInUse",
    "RankedSystem", "Related", "Report", "Reproduced", "SafetyCase", "Sample", "Samples", "Score", "ScoreAgreement",
    "SignedURL", "Status", "System", "Transition", "UseCase", "Volume", "WorkflowLogs", "read",
]  # fmt: skip


class Identified(Protocol):
    """Anything that identifies an entity."""

    @property
    def kind(self) -> str:
        """The name of its kind, such as `Dataset`."""
        ...

    @property
    def id(self) -> str:
        """Its ID."""
        ...


T = TypeVar("T")


def read(value: Any, form: type[T]) -> T:
    """Convert `value`, which is decoded JSON, to `form`."""
    return msgspec.convert(value, form)
