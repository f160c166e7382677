"""HTML written so that foreign text cannot be markup: only what ``tag`` made stays unescaped."""

import html

from services.inventory.compliance.report import visible

_VOID = frozenset({"meta", "rect", "line", "input"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(content: str) -> Html:
    """Escape foreign text for content and attributes alike."""
    if isinstance(content, Html):
        return content
    # A space at either end parts the text from its neighbour.
    before, after = content[:1] == " ", content[1:][-1:] == " "
    return Html(f"{' ' * before}{html.escape(visible(content), quote=True)}{' ' * after}")


def tag(name: str, /, *children: str, **attributes: object) -> Html:
    """Write an element; names of attributes may end in ``_`` and write ``-`` as ``_``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )
    if name in _VOID:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Put contents together; foreign ones are escaped."""
    return Html("".join(text(child) for child in children))
