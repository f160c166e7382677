"""Random well-typed conditions over a kind, and a database to hold them against."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from mesh.cel import CelType, Columns, Condition, TableColumns
from mesh.cel.dialects import DIALECTS
from mesh.cel.source import RESERVED
from mesh.cel.types import ListType, MapType, MessageType, Type, type_of
from mesh.contract.catalogue import Catalogue, Kind
from mesh.sql.document import is_secret
from mesh.sql.tables import Tables
from tests.databases import open_sync_engine

PARAMETERS = {"now": CelType.TIMESTAMP, "limit": CelType.INT, "longest": CelType.DURATION}
VALUES: Mapping[str, object] = {
    "now": datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
    "limit": 3,
    "longest": timedelta(days=90),
}
ORDERED = ["<", "<=", ">", ">=", "==", "!="]
_SUMS = {CelType.INT: "+-*/%", CelType.UINT: "+-*/%", CelType.DOUBLE: "+-*/", CelType.STRING: "+"}
# What Google's evaluator computes alike: not divisions by zero, infinity, and uint past int64.
_PLAIN_SUMS = {CelType.INT: "+-*", CelType.STRING: "+"}
_NUMBERS = ["0", "1", "2", "7", "65536", "4294967295", "9223372036854775807"]
_COMMON: dict[CelType, list[str]] = {
    CelType.BOOL: ["true", "false"],
    CelType.INT: [*_NUMBERS, "-1", "-9223372036854775808", "limit"],
    CelType.UINT: [f"{number}u" for number in _NUMBERS],
    CelType.DOUBLE: ["0.0", "1.5", "-2.0", "1e308", "1e-300"],
    CelType.STRING: ['""', '"a"', '"Ab%_"', '"é😀"', r'"\"\\\n"'],
    CelType.BYTES: ['b""', r'b"\xff\x00"'],
    CelType.TIMESTAMP: [
        "now",
        'timestamp("1970-01-01T00:00:00Z")',
        'timestamp("0001-01-01T00:00:00Z")',
        'timestamp("9999-12-31T23:59:59.999999Z")',
    ],
    CelType.DURATION: ["longest", 'duration("0s")', 'duration("-36h0.000001s")'],
}


def quoted(text: str) -> str:
    """Write a CEL text literal."""
    escaped = "".join(
        f"\\U{ord(each):08x}" if each < " " or each in '"\\' else each for each in text
    )
    return f'"{escaped}"'


def _literal(kind: CelType, value: Any) -> str | None:
    match kind:
        case CelType.STRING:
            return quoted(value)
        case CelType.INT | CelType.DOUBLE:
            return repr(value)
        case CelType.UINT:
            return f"{value}u" if value < 2**63 else None
        case CelType.BYTES:
            return 'b"' + "".join(f"\\x{byte:02x}" for byte in value) + '"'
        case CelType.TIMESTAMP:
            return f"timestamp({quoted(value.ToJsonString())})"
        case CelType.DURATION:
            return f"duration({quoted(value.ToJsonString())})"
    return None


@dataclass
class Pool:
    """Literals by type: common ones, and those that a message holds, so that some are equal."""

    literals: dict[CelType, list[str]] = field(
        default_factory=lambda: {kind: list(texts) for kind, texts in _COMMON.items()}
    )

    def learn(self, message: Any) -> None:
        for descriptor, value in message.ListFields():
            self._learn(type_of(descriptor), value)

    def _learn(self, kind: Type, value: Any) -> None:
        match kind:
            case CelType() if (text := _literal(kind, value)) is not None:
                self.literals[kind].append(text)
            case ListType(item):
                for each in value:
                    self._learn(item, each)
            case MapType(key, held):
                for each in value:
                    self._learn(key, each)
                    self._learn(held, value[each])
            case MessageType():
                self.learn(value)


Path = tuple[str, Type]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def _members(prefix: str, message: Descriptor) -> Iterator[Path]:
    for each in message.fields:
        if not is_secret(each):
            yield f"{prefix}.{each.name}", type_of(each, in_json=True)


def _paths(kind: Kind, *, nested: bool) -> Iterator[Path]:
    for each in kind.descriptor.fields:
        if not is_secret(each):
            yield each.name, type_of(each)
    if not nested:
        return
    for each in kind.envelope_fields:
        yield f"record.{each.name}", type_of(each)
    for name, found in list(_paths(kind, nested=False)):
        if isinstance(found, MessageType):
            yield from _members(name, found.descriptor)


class Expressions:
    """Draws conditions over a kind; without ``nested``, what Google's evaluator takes alike."""

    def __init__(self, kind: Kind, pool: Pool, draw: Draw, *, nested: bool = True) -> None:
        self._draw = draw
        self._pool = pool
        self._nested = nested
        self._paths = list(_paths(kind, nested=nested))
        self._fields = [name for name, _ in self._paths]
        self._sums = _SUMS if nested else _PLAIN_SUMS
        self._depth = 0

    def condition(self) -> str:
        return self._of(CelType.BOOL, 4, ())

    def _pick(self, options: list[Any]) -> Any:
        return self._draw(st.sampled_from(options))

    def _readable(self, kind: Type, local: tuple[Path, ...]) -> list[str]:
        return [name for name, found in (*self._paths, *local) if found == kind]

    def _leaf(self, kind: CelType, local: tuple[Path, ...]) -> str:
        readable = self._readable(kind, local)
        if readable and self._pick([True, True, False]):
            return str(self._pick(readable))
        return str(self._pick(self._pool.literals[kind]))

    def _of(self, kind: CelType, depth: int, local: tuple[Path, ...]) -> str:
        if kind is CelType.BOOL:
            return f"({self._bool(depth, local)})"
        if depth <= 0 or self._pick([True, True, False]):
            return self._leaf(kind, local)
        if self._pick([True, False, False]):
            return self._choice(kind, depth, local)
        return self._computed(kind, depth - 1, local)

    def _choice(self, kind: CelType, depth: int, local: tuple[Path, ...]) -> str:
        condition = self._bool(depth - 2, local)
        chosen, otherwise = (self._of(kind, depth - 2, local) for _ in range(2))
        return f"({condition} ? {chosen} : {otherwise})"

    def _computed(self, kind: CelType, depth: int, local: tuple[Path, ...]) -> str:
        if kind in self._sums:
            if kind is CelType.INT and self._pick([True, False]):
                return self._size(local)
            left, right = (self._of(kind, depth, local) for _ in range(2))
            return f"({left} {self._pick(list(self._sums[kind]))} {right})"
        moment, length = CelType.TIMESTAMP, CelType.DURATION
        forms = {
            moment: [(moment, "+", length), (moment, "-", length), (length, "+", moment)],
            length: [(moment, "-", moment), (length, "-", length), (length, "+", length)],
        }
        if kind not in forms:
            return self._leaf(kind, local)
        # Google's moments may not lie more than 292 years apart, these may.
        one, sign, other = self._pick(forms[kind][0 if self._nested else 1 :])
        return f"({self._of(one, depth, local)} {sign} {self._of(other, depth, local)})"

    def _size(self, local: tuple[Path, ...]) -> str:
        sized = [
            name
            for name, kind in (*self._paths, *local)
            if isinstance(kind, ListType | MapType) or kind in (CelType.STRING, CelType.BYTES)
        ]
        return f"size({self._pick(sized)})" if sized else "0"

    def _bool(self, depth: int, local: tuple[Path, ...]) -> str:
        if depth <= 0:
            return self._leaf(CelType.BOOL, local)
        return str(self._pick(self._FORMS)(self, depth - 1, local))

    def _logic(self, depth: int, local: tuple[Path, ...]) -> str:
        left, right = (self._bool(depth, local) for _ in range(2))
        return f"({left} {self._pick(['&&', '||'])} {right})"

    def _negation(self, depth: int, local: tuple[Path, ...]) -> str:
        return f"!({self._bool(depth, local)})"

    def _comparison(self, depth: int, local: tuple[Path, ...]) -> str:
        kind = self._pick(list(CelType))
        left, right = (self._of(kind, depth, local) for _ in range(2))
        return f"{left} {self._pick(ORDERED)} {right}"

    def _presence(self, depth: int, local: tuple[Path, ...]) -> str:
        if not self._nested:
            return self._text(depth, local)
        members = [
            member
            for name, kind in local
            if isinstance(kind, MessageType)
            for member, _ in _members(name, kind.descriptor)
        ]
        return f"has({self._pick(self._fields + members)})"

    def _text(self, depth: int, local: tuple[Path, ...]) -> str:
        function = self._pick(["startsWith", "endsWith", "contains"])
        text, part = self._of(CelType.STRING, depth, local), self._leaf(CelType.STRING, local)
        return f"{text}.{function}({part})"

    def _membership(self, depth: int, local: tuple[Path, ...]) -> str:
        held: list[tuple[str, CelType]] = [
            (name, inside)
            for name, kind in (*self._paths, *local)
            for inside in [getattr(kind, "item", getattr(kind, "key", None))]
            if isinstance(inside, CelType)
        ]
        if not held or self._pick([True, False, False]):
            kind = self._pick([each for each in CelType if each is not CelType.BOOL])
            items = [self._leaf(kind, local) for _ in range(self._pick([0, 1, 2, 3]))]
            return f"{self._of(kind, depth, local)} in [{', '.join(items)}]"
        name, kind = self._pick(held)
        return f"{self._of(kind, depth, local)} in {name}"

    def _entry(self, depth: int, local: tuple[Path, ...]) -> str:
        held = [
            (name, getattr(kind, "key", CelType.INT), inside)
            for name, kind in (*self._paths, *local)
            for inside in [getattr(kind, "value", getattr(kind, "item", None))]
            if isinstance(inside, CelType)
            and isinstance(getattr(kind, "key", CelType.INT), CelType)
        ]
        if not held:
            return self._leaf(CelType.BOOL, local)
        name, key, inside = self._pick(held)
        entry = f"{name}[{self._leaf(key, local)}]"
        return f"{entry} {self._pick(ORDERED)} {self._of(inside, depth, local)}"

    def _quantified(self, depth: int, local: tuple[Path, ...]) -> str:
        if self._depth == 2:
            return self._leaf(CelType.BOOL, local)
        held: list[tuple[str, Type]] = [
            (name, inside)
            for name, kind in (*self._paths, *local)
            for inside in [getattr(kind, "item", getattr(kind, "key", None))]
            if isinstance(inside, CelType | MessageType)
        ]
        held = [each for each in held if self._nested or isinstance(each[1], CelType)]
        held.append(("[1, 3, 22]", CelType.INT))
        domain, inside = self._pick(held)
        self._depth += 1
        variable = f"each{self._depth}"
        inner: list[Path] = [(variable, inside)]
        if isinstance(inside, MessageType):
            inner += _members(variable, inside.descriptor)
        predicate = self._bool(max(depth, 1), (*local, *inner))
        self._depth -= 1
        return f"{domain}.{self._pick(['exists', 'all'])}({variable}, {predicate})"

    def _ternary(self, depth: int, local: tuple[Path, ...]) -> str:
        condition, chosen, otherwise = (self._bool(depth - 1, local) for _ in range(3))
        return f"({condition} ? {chosen} : {otherwise})"

    _FORMS = [  # noqa: RUF012  # read only
        _logic,
        _logic,
        _negation,
        _comparison,
        _comparison,
        _presence,
        _text,
        _membership,
        _entry,
        _quantified,
        _quantified,
        _ternary,
    ]


class Masked:
    """Columns of which some were not read."""

    def __init__(self, columns: Columns, unread: Container[str]) -> None:
        self._columns = columns
        self._unread = unread

    def value(self, name: str) -> sa.ColumnElement[Any]:
        return sa.null() if name in self._unread else self._columns.value(name)

    def present(self, name: str) -> sa.ColumnElement[bool]:
        present = self._columns.present(name)
        return sa.case((sa.true(), None), else_=present) if name in self._unread else present


class Database:
    """The tables of a catalogue, holding one row at a time."""

    def __init__(self, catalogue: Catalogue, url: str = "sqlite://") -> None:
        self.tables = Tables(catalogue)
        self._engine = open_sync_engine(url)
        self.dialect = DIALECTS[self._engine.dialect.name]
        self.tables.metadata.create_all(self._engine)
        self._connection = self._engine.connect()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def put(self, collection: str, message: Any) -> None:
        target = self.tables[collection]
        self._connection.execute(target.table.delete())
        self._connection.execute(target.table.insert().values(**target.codec.row(message)))

    def ask(
        self,
        collection: str,
        condition: Condition,
        parameters: Mapping[str, object],
        unread: Container[str] = (),
    ) -> bool | None:
        target = self.tables[collection]
        columns = Masked(TableColumns(target.table, target.kind, self.dialect), unread)
        asked = condition.to_sql(columns, parameters, self.dialect)
        statement = sa.select(asked).select_from(target.table)
        with self._connection.begin_nested():  # what one statement breaks, the next must not feel
            answer = self._connection.execute(statement).scalar_one()
        return None if answer is None else bool(answer)

    def ask_nested(self, collection: str, condition: sa.ColumnElement[bool]) -> None:
        """Run a condition as deep in a statement as any caller would."""
        table = self.tables[collection].table
        holds = sa.and_(table.c.tenant_id == "acme", sa.or_(table.c.id != "", condition))
        rows = sa.select(sa.case((holds, 1), else_=0).label("holds")).subquery()
        with self._connection.begin_nested():
            self._connection.execute(sa.select(sa.func.sum(rows.c.holds))).all()


def body_and_record(kind: Kind, message: Any) -> tuple[Any, Any]:
    """Split what travels into what a condition is evaluated on."""
    return (getattr(message, kind.body_field), message) if kind.body_field else (message, None)


def declared_names(kind: Kind) -> dict[str, FieldDescriptor]:
    """Give the body's fields that are variables of CEL itself."""
    return {
        each.name: each
        for each in kind.descriptor.fields
        if each.name not in RESERVED and not is_secret(each)
    }
