"""Single resources of a unit: what of a listing is looked at, and what is left as it is stored."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1 import record_pb2
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.collect.draft import Collected, Draft, Truth
from services.inventory.collect.source import GLOBAL

T = TypeVar("T")
ARN = "arn"
"""Stands for the ARN of a resource where a field of its body is named."""
KEYS = "KEYS"
"""Stands for the keys where parameters of a listing are written."""


@dataclass(frozen=True)
class Narrowing:
    """How one listing is asked for single resources, or searched for them."""

    operation: str
    item: str | None = None
    """Key of an item that names its resource, empty if the item is the name; None for none."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What is asked beside."""


@dataclass(frozen=True)
class Focus:
    """The resources of a unit that are read; none of them, where nothing is but derived."""

    keys: frozenset[str] = frozenset()
    field: str = ARN
    """Field of the body that holds the key."""
    narrowing: Narrowing | None = None

    @property
    def reading(self) -> SyncUnit.Reading.ValueType:
        """The contract's word for it."""
        return SyncUnit.READING_RESOURCES if self.keys else SyncUnit.READING_DERIVED

    @property
    def reader(self) -> Callable[..., Reader]:
        """Makes the reader of such a unit."""
        return partial(FocusedReader, self)

    def completed(
        self,
        collected: Collected,
        stored: Mapping[str, Record],
        body_field: str,
        fields: Iterable[str],
    ) -> Collected:
        """Give the drafts that are looked at, and all others of the unit as they are stored.

        If nothing listed the resources that are looked at, they are marked: something happened
        to them, and nobody knows what.
        """
        read = [draft for draft in collected.drafts if self._key(draft) in self.keys]
        told = {self._key(draft) for draft in read}
        kept = [stored_draft(record, body_field) for record in stored.values()]
        others = [draft for draft in kept if self._key(draft) not in self.keys]
        if collected.unlisted is not None:
            lost = [each for each in kept if self._key(each) in self.keys - told]
            for draft in lost:
                draft.miss(collected.unlisted, *fields)
            others += lost
        return Collected([*read, *others], collected.unlisted)

    def _key(self, draft: Draft[Any]) -> str:
        return draft.arn if self.field == ARN else str(getattr(draft.body, self.field))


class FocusedReader(Reader):
    """A reader whose listing gives the resources that are looked at, and no others."""

    def __init__(self, focus: Focus, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._focus = focus

    def picked(
        self,
        operation: str,
        key: str,
        pick: Callable[[Response], T],
        *,
        page_size: int | None = None,
        resource: str = "",
        region: str = "",
        **parameters: Any,
    ) -> list[T] | Unread:
        """Read as the base class does, and keep of the listing what is looked at."""
        narrowing = self._focus.narrowing
        if narrowing is None or narrowing.operation != operation:
            return super().picked(
                operation,
                key,
                pick,
                page_size=page_size,
                resource=resource,
                region=region,
                **parameters,
            )
        asked = parameters | _filled(narrowing.parameters, sorted(self._focus.keys))
        listed = super().picked(
            operation,
            key,
            lambda item: (self._is_named(narrowing.item, item), pick(item)),
            page_size=page_size,
            resource=resource,
            region=region,
            **asked,
        )
        if isinstance(listed, Unread):
            return listed
        return [each for named, each in listed if named]

    def _is_named(self, item_key: str | None, item: Any) -> bool:
        if item_key is None:
            return True
        return (item[item_key] if item_key else item) in self._focus.keys


def _filled(parameters: Any, keys: list[str]) -> Any:
    """Write the keys into parameters."""
    if parameters == KEYS:
        return keys
    if isinstance(parameters, Mapping):
        return {name: _filled(each, keys) for name, each in parameters.items()}
    if isinstance(parameters, list):
        return [_filled(each, keys) for each in parameters]
    return parameters


@dataclass
class StoredDraft(Draft[Any]):
    """A resource as it is stored; what is computed of it now takes the place of what was."""

    def decide(self, name: str, truth: Truth) -> None:
        """Set a Boolean field anew, or mark it anew."""
        self.unread.pop(name, None)
        super().decide(name, truth)

    def miss(self, unread: Unread, *fields: str) -> None:
        """Mark fields anew."""
        for name in fields:
            self.unread.pop(name, None)
        super().miss(unread, *fields)


def stored_draft(record: Record, body_field: str) -> StoredDraft:
    """Give a stored record the form of a draft, its gaps as they were."""
    return StoredDraft(
        native_id="",
        # What is written in a draft is compared with the record, which stays as it is.
        body=deepcopy(getattr(record, body_field)),
        arn=record.arn,
        region="" if record.region == GLOBAL else record.region,
        unread={
            each.field: Unread("", each.action, outcome_of(each.outcome), each.code)
            for each in record.unread
        },
        record=record.name,
    )


def outcome_of(value: record_pb2.ReadOutcome.ValueType) -> Outcome:
    """Give an outcome as readers write it."""
    name = record_pb2.ReadOutcome.Name(value).removeprefix("READ_OUTCOME_")
    return Outcome[name]
