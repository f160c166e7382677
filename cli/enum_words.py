"""Values of enums as words of a command, such as ``clicked``: with or without their prefix."""

from google.protobuf.descriptor import EnumDescriptor

from cli.completion import Complete, words
from cli.connection import UsageProblem
from cli.output import enum_word


def enum_value(enum: EnumDescriptor, word: str, what: str) -> str:
    """Give the name of the value that a word means; UsageProblem names those there are."""
    typed = word.upper().replace("-", "_")
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    for name in (typed, prefix + typed):
        if name in enum.values_by_name:
            return name
    known = ", ".join(each.name.removeprefix(prefix).lower() for each in enum.values if each.number)
    raise UsageProblem(f"{word!r} is no {what}; one of {known}")


def offered(enum: EnumDescriptor) -> Complete:
    """Offer the words of an enum in a shell."""
    return words(enum_word(enum, each.number) for each in enum.values if each.number)
