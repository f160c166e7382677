"""Elements of an array of JSON that lie whole in a buffer, cut apart many at once.

Where one element ends and the next begins is guessed by how these two are parted and by the first
key of the next: ``},{"ruleId"``, with its spaces. The last such place in the buffer may be within
an element, or within a text; then what stands before it is no list of values, and a parser that is
written in C refuses it. If it takes it, the guess was right: nothing of it depends on what follows.
"""

import re

import msgspec

_NEXT = re.compile(rb'[ \t\r\n]*+,[ \t\r\n]*+(\{[ \t\r\n]*+"[^"\\]*+")')
_APART = msgspec.json.Decoder(list[msgspec.Raw])
_WHOLE = msgspec.json.Decoder(msgspec.Raw)
_REFUSED = (msgspec.DecodeError, RecursionError)


def follow(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Guess where the elements begin and end that follow the one that ends here.

    None if none ended here; if there is only one, or a part of it, its beginning twice.
    """
    parted = _NEXT.match(buffer, at) if buffer.endswith(b"}", 0, at) else None
    if parted is None:
        return None
    first = parted.start(1)
    return first, max(first, buffer.rfind(b"}" + parted[0], first) + 1)


def cut(buffer: bytes, first: int, end: int) -> list[bytes]:
    """Give the elements from here to there as they are written; none if the guess was wrong."""
    try:
        return [bytes(each) for each in _APART.decode(b"[%b]" % buffer[first:end])]
    except _REFUSED:
        return []


def are_whole(buffer: bytes, first: int, end: int) -> bool:
    """Tell whether elements reach from here to there."""
    try:
        _WHOLE.decode(b"[%b]" % buffer[first:end])
    except _REFUSED:
        return False
    return first < end
