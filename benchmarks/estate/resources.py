"""Bodies of records drawn from a seed: any kind's, by its descriptor alone."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, is_map
from services.inventory.compliance.check_catalogue import BoundCheck

NOW = datetime.now(UTC).replace(microsecond=0)
OLDEST_DAYS = 400
LENGTH = 12
"""Characters of a drawn text at most."""
_LITERAL = re.compile(r"\"([^\"\\]{1,12})\"|'([^'\\]{1,12})'")


def literals(checks: Iterable[BoundCheck]) -> list[str]:
    """Give the texts that the conditions of checks compare with, so that some records match."""
    found = {
        first or second
        for check in checks
        for first, second in _LITERAL.findall(f"{check.message.condition} {check.message.applies}")
    }
    return sorted(found)


class Bodies:
    """Draws bodies of one kind."""

    def __init__(self, kind: Kind, words: list[str], seed: int) -> None:
        self._kind = kind
        self._words = [*words, "other", "10.0.0.0/8"]
        self._random = Random(f"{seed}-{kind.collection}")  # noqa: S311  # repeatable, no secret

    def fill(self, body: Message) -> None:
        """Set each field of a body, one in twenty of the optional ones left absent."""
        for field in body.DESCRIPTOR.fields:
            if field.containing_oneof and len(field.containing_oneof.fields) > 1:
                continue
            if field.has_presence and self._random.random() < 0.05:
                continue
            self._set(body, field)

    def _set(self, body: Message, field: Any) -> None:
        place: Any = getattr(body, field.name)
        if is_map(field):
            return
        if field.is_repeated:
            for _ in range(self._random.randrange(3)):
                if field.message_type is None:
                    place.append(self._scalar(field))
                else:
                    self._message(place.add())
        elif field.message_type is None:
            setattr(body, field.name, self._scalar(field))
        else:
            self._message(place)

    def _message(self, message: Message) -> None:
        if message.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
            age = timedelta(seconds=self._random.randrange(OLDEST_DAYS * 86_400))
            message.FromDatetime(NOW - age)  # type: ignore[attr-defined]  # its name says so
        elif message.DESCRIPTOR.full_name == "google.protobuf.Duration":
            message.FromSeconds(self._random.randrange(86_400))  # type: ignore[attr-defined]  # as above
        elif not message.DESCRIPTOR.full_name.startswith("google."):
            self.fill(message)
            message.SetInParent()

    def _scalar(self, field: Any) -> object:
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self._random.random() < 0.8
        if field.type == FieldDescriptor.TYPE_STRING:
            longest = field.GetOptions().Extensions[validate_pb2.field].string.max_len
            return self._random.choice(self._words)[: longest or LENGTH]
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._random.randbytes(8)
        if field.enum_type is not None:
            return self._random.choice(field.enum_type.values).number
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return self._random.random() * 100
        return self._random.randrange(1, 400)
