"""What fields hold: makers of values, chosen once for each field from contract and vocabulary."""

from bisect import bisect
from collections.abc import Callable, Collection, Iterable
from itertools import accumulate
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.contract.catalogue import is_map
from services.security.seeding.draw import Draw, words_of
from services.security.seeding.vocabulary import Vocabulary

Make = Callable[[Draw], Any]
Fill = Callable[[Any, Draw], None]
"""Sets a field of a message that is being made."""
RULES = validate_pb2.field
SEVERITY, STATUS = "severity", "status"
_DEPTH = 4
"""Messages within messages that are filled."""
_MOST_ITEMS = 3
_GREATEST = 1000.0
_TEXT, _BYTES = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES
_REALS = {FieldDescriptor.TYPE_DOUBLE: "double", FieldDescriptor.TYPE_FLOAT: "float"}
_WHOLES = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}
_BY_SEVERITY = {
    "CRITICAL": (9.0, 10.0),
    "BLOCKER": (9.0, 10.0),
    "HIGH": (7.0, 8.9),
    "MAJOR": (4.0, 6.9),
    "MEDIUM": (4.0, 6.9),
    "MINOR": (0.1, 3.9),
    "LOW": (0.1, 3.9),
    "INFO": (0.0, 0.0),
}
"""Scores of the Common Vulnerability Scoring System 3.1, by its qualitative severities."""
_SCORED = ("cvss_score", "security_severity")
_ENDS = (("start_line", "end_line"), ("start_column", "end_column"))
_CWE = "cwe_id"
_DAY = 86_400


class Values:
    """Makes the values of one kind's fields.

    ``names``: how a list that is called as a collection is (``teams``) gets names of its records.
    """

    def __init__(
        self,
        collection: str,
        words: Vocabulary,
        start: int,
        names: Callable[[str, Draw], Iterable[str]],
        named: Collection[str],
    ) -> None:
        """``start``: seconds since 1970 near which moments within messages lie."""
        self._collection = collection
        self._words = words
        self._start = start
        self._names = names
        self._named = named

    def filler(self, field: FieldDescriptor, depth: int = 0) -> Fill:
        """Give what fills a field, whatever its type."""
        name = field.name
        if is_map(field):
            return self._map(field, depth)
        if field.is_repeated:
            return self._list(field, depth)
        if field.message_type is not None:
            fill = self._message(field, depth)
            return lambda holder, draw: fill(getattr(holder, name), draw)
        make = self.maker(field)
        return lambda holder, draw: setattr(holder, name, make(draw))

    def maker(self, field: FieldDescriptor, bounds: Any = None) -> Make:
        """Give what makes a plain value, or an item of a list of them.

        ``bounds``: its rules where they do not stand with the field, as those of maps.
        """
        rules = bounds or field.GetOptions().Extensions[RULES]
        rules = rules.repeated.items if field.is_repeated else rules
        if field.enum_type is not None:
            return self.enum(field.enum_type, rules.enum.not_in, field.name)
        if field.type == _TEXT:
            return self._text(field, rules.string)
        if field.type == _BYTES:
            return lambda draw: draw.random.randbytes(16)
        if field.type in _REALS:
            return self._real(field.name, getattr(rules, _REALS[field.type]))
        if field.type in _WHOLES:
            return self._whole(field.name, getattr(rules, _WHOLES[field.type]))
        likely = self._words.likely.get(field.name, 0.3)
        return lambda draw: draw.random.random() < likely

    def enum(self, enum: EnumDescriptor, excluded: Collection[int], field: str = "") -> Make:
        """Give what chooses a value of an enum, each as often as the vocabulary says."""
        words = words_of(enum)
        numbers = [number for number in words if number not in excluded]
        sums = list(accumulate(self._words.weight(words[number]) for number in numbers))

        def make(draw: Draw) -> int:
            number = numbers[bisect(sums, draw.random.random() * sums[-1])]
            word = draw.word_of(enum, number)
            if field == SEVERITY and not draw.severity:
                draw.severity = word
            elif field == STATUS and not draw.status:
                draw.status = word.lower()
            return number

        return make

    def _text(self, field: FieldDescriptor, rules: Any) -> Make:
        template = self._words.template(self._collection, field.name)
        most = int(rules.max_len) or None
        return lambda draw: draw.text(template)[:most]

    def _real(self, name: str, rules: Any) -> Make:
        least, most = self._range(name, rules, 1)
        if name in _SCORED:

            def by_severity(draw: Draw) -> float:
                low, high = _BY_SEVERITY.get(draw.severity, (least, most))
                return round(draw.between(low, high), 1)

            return by_severity
        return lambda draw: round(draw.between(least, most), 2)

    def _whole(self, name: str, rules: Any) -> Make:
        if name == _CWE:
            return lambda draw: int(draw["cwe"])
        least, most = self._range(name, rules, 0)
        return lambda draw: int(draw.between(least, most + 1))

    def _range(self, name: str, rules: Any, step: int) -> tuple[float, float]:
        """Give the least and the greatest value that contract and vocabulary allow."""
        least = rules.gte if rules.HasField("gte") else rules.gt + 1 if rules.HasField("gt") else 0
        most = rules.lte if rules.HasField("lte") else rules.lt - 1 if rules.HasField("lt") else 0
        wanted = self._words.number(name)
        if wanted is not None:
            low = max(least, wanted[0])
            return low, max(low, min(most, wanted[1]) if most else wanted[1])
        # Where nothing is said: small numbers, as most that people look at are.
        usual = _GREATEST if step else _GREATEST / 10
        return least, min(most, max(usual, least)) if most else least + usual

    def _list(self, field: FieldDescriptor, depth: int) -> Fill:
        rules = field.GetOptions().Extensions[RULES].repeated
        least = max(1, int(rules.min_items))
        most = min(int(rules.max_items) or _MOST_ITEMS, max(_MOST_ITEMS, least))
        name = field.name
        if field.message_type is not None:
            fill = self._message(field, depth)

            def fill_all(holder: Any, draw: Draw) -> None:
                held = getattr(holder, name)
                for _ in range(least):
                    fill(held.add(), draw)

            return fill_all
        if field.type == _TEXT and name in self._named:
            return lambda holder, draw: getattr(holder, name).extend(self._names(name, draw))
        make = self.maker(field)

        def fill_distinct(holder: Any, draw: Draw) -> None:
            wanted = least + int(draw.random.random() * (most - least + 1))
            getattr(holder, name).extend(dict.fromkeys(make(draw) for _ in range(wanted)))

        return fill_distinct

    def _map(self, field: FieldDescriptor, depth: int) -> Fill:
        entry = field.message_type
        assert entry is not None  # noqa: S101  # a map's entries are messages
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        rules = field.GetOptions().Extensions[RULES].map
        name, make_key = field.name, self.maker(key, rules.keys)
        if value.message_type is not None:
            fill = self._message(value, depth)
            return lambda holder, draw: fill(getattr(holder, name)[make_key(draw)], draw)
        make = self.maker(value, rules.values)

        def fill_map(holder: Any, draw: Draw) -> None:
            getattr(holder, name)[make_key(draw)] = make(draw)

        return fill_map

    def _message(self, field: FieldDescriptor, depth: int) -> Fill:
        message = field.message_type
        assert message is not None  # noqa: S101  # asked for messages alone
        if message.full_name == "google.protobuf.Timestamp":
            return self._moment
        if message.full_name == "google.protobuf.Duration":
            return lambda held, draw: setattr(held, "seconds", int(draw.between(60, _DAY)))
        if message.full_name == "google.protobuf.Struct":
            return lambda held, draw: held.update({draw["unit"]: draw["value"]})
        if depth >= _DEPTH:
            return lambda held, _: held.SetInParent()
        return self._filler_of(message, depth)

    def _moment(self, held: Any, draw: Draw) -> None:
        held.seconds = self._start - int(draw.between(0, _DAY))

    def _filler_of(self, message: Descriptor, depth: int) -> Fill:
        """Give what fills all fields of a message, and of alternatives the one that was said."""
        fillers = []
        alternatives = []
        for field in message.fields:
            if field.name in self._words.left_out and field.enum_type is None:
                continue
            oneof = field.containing_oneof
            fill = self.filler(field, depth + 1)
            if oneof is not None and len(oneof.fields) > 1:
                alternatives.append((field.name, fill))
            else:
                fillers.append(fill)

        def fill_all(held: Message, draw: Draw) -> None:
            held.SetInParent()
            for fill in fillers:
                fill(held, draw)
            for name, fill in alternatives:
                if name in draw.said:
                    fill(held, draw)
                    break
            put_in_order(held)

        return fill_all


def put_in_order(message: Any) -> None:
    """Let what ends come after what begins, of places in texts."""
    fields = message.DESCRIPTOR.fields_by_name
    for first, last in _ENDS:
        if first not in fields or last not in fields or not message.HasField(last):
            continue
        if getattr(message, last) < getattr(message, first):
            setattr(message, last, getattr(message, first) + getattr(message, last) % 20)
