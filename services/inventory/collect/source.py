"""What derivations know of another collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from services.inventory.collect.draft import Draft

GLOBAL = "global"
"""Region of what an account has once."""
NOT_COLLECTED = "NotCollected"
"""Code of facts that rest on a region or collection nobody has read yet."""


@dataclass
class Source:
    """What is known of one collection: its resources, and which regions were listed."""

    drafts: list[Draft[Any]] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    gaps: dict[str, Unread] = field(default_factory=dict)
    """By region: why it was not listed."""

    def in_order(self) -> "Source":
        """Give the same, in an order that does not tell who was read first.

        Of many gaps the first one is told: it is to be the same in every run.
        """
        drafts = sorted(self.drafts, key=lambda draft: draft.arn)
        return Source(drafts, self.listed, dict(sorted(self.gaps.items())))

    def gap(self, region: str, operation: str) -> Unread | None:
        """Give why a region is not known whole; None if it is."""
        if region in self.gaps:
            return self.gaps[region]
        if region in self.listed:
            return None
        return Unread.of(operation, Outcome.FAILED, NOT_COLLECTED)


Sources = Mapping[str, Source]
