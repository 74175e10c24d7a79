"""The kinds of our custom resources as the cluster names them."""

from __future__ import annotations

from dyff.cluster import port
from dyff.entities.kinds import evaluation, inference_service, inference_session, model

EVALUATION = port.custom(evaluation.RESOURCE)
INFERENCE_SERVICE = port.custom(inference_service.RESOURCE)
INFERENCE_SESSION = port.custom(inference_session.RESOURCE)
MODEL = port.custom(model.RESOURCE)
