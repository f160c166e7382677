"""The fields that persons have: the contract's, and what a tenant adds and raises."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import field_option
from mesh.errors import FieldInvalid
from secmesh.crypto.v1.user_pb2 import User
from secmesh.options.v1 import field_pb2
from services.crypto.suite.blind_index import Exposure, Kept, leaks
from services.crypto.suite.fields import FieldRule
from services.crypto.suite.header import Tier
from services.crypto.suite.normal_form import Form

FIRST_OWN_NUMBER, LAST_OWN_NUMBER = 1 << 15, (1 << 16) - 1
"""Numbers of fields that tenants define; those below are the contract's."""
DEFAULT_PADDING = 64
"""Bytes, for fields of tenants that say nothing else."""


@dataclass(frozen=True)
class PersonField:
    """One field of persons, as a tenant keeps it."""

    name: str
    number: int
    """Stands in sealed values; never another field's."""
    tier: Tier
    """Of values that are written from now on."""
    least_tier: Tier
    """The contract's, or what the tenant began with."""
    form: Form = Form.TEXT
    padding: int = 0
    possible_values: int = 0
    """How many different values people have in it, about; 0 if nobody said."""
    own: bool = False
    """Whether the tenant defined it."""
    indexed: bool = False
    """Whether its clear values have an index of the database."""

    @property
    def sealed(self) -> bool:
        """Whether values are sealed that are written from now on."""
        return self.tier is not Tier.CLEAR

    @property
    def rule(self) -> FieldRule:
        """How values are sealed and opened."""
        # A value that was sealed before a tenant raised the tier is still the tenant's.
        least = max(self.least_tier, Tier.SEALED)
        return FieldRule(self.name, self.number, self.tier, least, self.padding)

    @property
    def has_blind_index(self) -> bool:
        """Whether sealed values can be searched: not if they could be counted through."""
        shown = Exposure(self.name, self.form, self.possible_values, Kept.BLIND_INDEX)
        return self.sealed and not leaks([shown])

    @property
    def searchable(self) -> bool:
        """Whether persons can be found by a value of it."""
        return self.has_blind_index if self.sealed else self.indexed

    def numbered(self, number: int) -> "PersonField":
        """Give the same field with the number that it was given."""
        return replace(self, number=number)

    @property
    def unmask_permission(self) -> str:
        """What a caller must hold to read its sealed values."""
        return f"crypto.{self.name}.unmask"


def form_of(value: int) -> Form:
    """Give the form that an enum value of the contract stands for."""
    if value == field_pb2.FORM_UNSPECIFIED:
        return Form.TEXT
    name = field_pb2.Form.DESCRIPTOR.values_by_number[value].name
    return Form[name.removeprefix("FORM_")]


def form_number(form: Form) -> int:
    """Give the enum value of the contract for a form."""
    return field_pb2.Form.Value(f"FORM_{form.name}")


def _of_contract(descriptor: FieldDescriptor) -> PersonField:
    option = field_option(descriptor)
    tier = Tier(option.tier)
    return PersonField(
        name=descriptor.name,
        number=descriptor.number,
        tier=tier,
        least_tier=tier,
        form=form_of(option.form),
        padding=option.padding,
        possible_values=option.possible_values,
        indexed=option.indexed,
    )


CONTRACT: Mapping[str, PersonField] = MappingProxyType(
    {each.name: _of_contract(each) for each in User.DESCRIPTOR.fields if field_option(each).tier}
)
"""The fields that every tenant has."""


@dataclass(frozen=True)
class Decision:
    """What a tenant decided about one field; the last four are those of a field of its own."""

    name: str
    tier: Tier
    number: int | None = None
    form: Form = Form.TEXT
    padding: int = 0
    possible_values: int = 0


class PersonFields:
    """The fields of one tenant's persons."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._fields = dict(CONTRACT)
        for each in decisions:
            self._fields[each.name] = _decided(each)

    def __iter__(self) -> Iterator[PersonField]:
        return iter(sorted(self._fields.values(), key=lambda each: each.name))

    def __getitem__(self, name: str) -> PersonField:
        """Give a field; KeyError if the tenant has none of the name."""
        return self._fields[name]

    def find(self, name: str) -> PersonField | None:
        """Give a field, None if the tenant has none of the name."""
        return self._fields.get(name)

    def named(self, name: str, at: str) -> PersonField:
        """Give a field that a request names in its field ``at``; FieldInvalid."""
        found = self._fields.get(name)
        if found is None:
            raise FieldInvalid.of(at, f"{name!r} is no field of persons", "FIELD_UNKNOWN")
        return found


def _decided(decision: Decision) -> PersonField:
    known = CONTRACT.get(decision.name)
    if known is not None:
        # Whatever stands in the database, the contract's tier is the least.
        padding = known.padding or DEFAULT_PADDING
        return replace(known, tier=max(known.tier, decision.tier), padding=padding)
    if decision.number is None:
        raise ValueError(f"{decision.name} is no field of the contract and has no number")
    return PersonField(
        name=decision.name,
        number=decision.number,
        tier=decision.tier,
        least_tier=Tier.CLEAR,
        form=decision.form,
        padding=decision.padding or DEFAULT_PADDING,
        possible_values=decision.possible_values,
        own=True,
    )
