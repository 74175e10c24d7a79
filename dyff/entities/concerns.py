"""What use cases and hazards share: they are texts that methods refer to by a label."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from dyff.entities import answers, codecs, described, identity

Title = Annotated[str, msgspec.Meta(max_length=140)]
Summary = Annotated[str, msgspec.Meta(max_length=280)]
FullPage = Annotated[str, msgspec.Meta(max_length=2**20)]


class Documentation(identity.Part, frozen=True):
    """Texts for people. `summary` and `fullPage` are Markdown."""

    title: Title | None = None
    summary: Summary | None = None
    fullPage: FullPage | None = None


class ConcernCreateRequest(identity.CreateRequest, frozen=True):
    """Describes a use case or a hazard. A method refers to it by the label `<plural>.dyff.io/<ID>`, whose value is 1."""

    example: ClassVar[codecs.Json] = {
        "account": "example",
        "documentation": {"title": "Customer support", "summary": "Answers to questions about orders."},
    }

    documentation: Documentation = Documentation()


class Concern(identity.Entity, kw_only=True, frozen=True):
    """`documentation`: as it was at creation; what was edited since is in `metadata.documentation`."""

    documentation: Annotated[dict[str, Any], described.like(answers.Documentation)] = msgspec.field(default_factory=dict)
