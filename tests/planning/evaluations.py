"""Evaluations in the phases in which tests begin."""

from __future__ import annotations

from dyff.cluster import port
from tests.planning import world
from tests.planning.world import ID, OTHER, World

CLIENT, VERIFY, SALVAGE = f"eval-{ID}-client", f"eval-{ID}-verify", f"eval-{ID}-salvage"


def begun():
    """Created and looked at: the session is starting, the client has its address and waits."""
    return World(world.an_evaluation()).settle()


def inferring():
    """The session serves and the client runs."""
    there = begun().serve()
    there.run_pod(port.JOB, CLIENT)
    return there.settle()


def verifying():
    """The client is done, the verification runs."""
    there = inferring().end_job("client")
    there.run_pod(port.JOB, VERIFY)
    return there.settle()


def with_reference():
    """It uses a session that serves already."""
    there = World(world.an_evaluation_of_a_running_session(), world.a_session(OTHER)).settle()
    return there.serve(f"session-{OTHER}")
