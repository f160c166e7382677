"""Charts as inline SVG: bars whose parts carry their own words, for eyes and screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.inventory.compliance.html_parts import Html, tag

WIDTH = 1000
_HEIGHT = 20
_GAP = 3
_TALL = 160
_WIDEST = 60.0


@dataclass(frozen=True)
class Share:
    """One part of a bar."""

    word: str
    count: int
    style: str
    """Class that gives the colour."""


def bar(shares: Sequence[Share], total: int, *, of: str) -> Html:
    """Draw shares of a total one after another; ``total`` fills the whole width."""
    shown = [share for share in shares if share.count]
    parts = []
    left = 0.0
    for share in shown:
        width = WIDTH * share.count / max(total, 1)
        inner = max(width - _GAP, 1.0)
        label = tag("title", f"{share.word}: {share.count} of {total}")
        shape = tag("rect", x=f"{left:.1f}", width=f"{inner:.1f}", height=_HEIGHT, rx=2)
        parts.append(tag("g", label, shape, class_=share.style))
        left += width
    return tag(
        "svg",
        tag("rect", class_="track", width=WIDTH, height=_HEIGHT, rx=2),
        *parts,
        viewBox=f"0 0 {WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{of}: {_told(shown)}",
        class_="bar",
    )


def legend(shares: Sequence[Share]) -> Html:
    """List what the colours of a bar mean, with their counts."""
    items = [
        tag(
            "li",
            tag(
                "svg",
                tag("rect", width=12, height=12, rx=2),
                class_=f"key {share.style}",
                viewBox="0 0 12 12",
                aria_hidden="true",
            ),
            tag("span", share.word),
            tag("b", str(share.count)),
        )
        for share in shares
    ]
    return tag("ul", *items, class_="legend")


@dataclass(frozen=True)
class Pile:
    """The shares of one day, drawn one upon another."""

    day: int
    """Since 1970."""
    word: str
    shares: Sequence[Share]


def piles(drawn: Sequence[Pile], *, of: str) -> Html:
    """Draw a pile for each day where its day is; between them stands nothing."""
    first = drawn[0].day
    step = WIDTH / (drawn[-1].day - first + 1)
    tallest = max(sum(share.count for share in pile.shares) for pile in drawn)
    width = max(min(step * 0.8, _WIDEST), 1.0)
    parts = [
        _pile(pile, (pile.day - first + 0.5) * step - width / 2, width, max(tallest, 1))
        for pile in drawn
    ]
    ends = [f"{pile.word}: {_told(pile.shares)}" for pile in (drawn[0], drawn[-1])]
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {_TALL}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{of}: {'; '.join(ends)}",
        class_="piles",
    )


def _pile(pile: Pile, left: float, width: float, tallest: int) -> Html:
    shapes = []
    bottom = float(_TALL)
    for share in pile.shares:
        if not share.count:
            continue
        height = _TALL * share.count / tallest
        bottom -= height
        shapes.append(
            tag(
                "rect",
                x=f"{left:.1f}",
                y=f"{bottom:.1f}",
                width=f"{width:.1f}",
                height=f"{height:.1f}",
                class_=share.style,
            )
        )
    return tag("g", tag("title", f"{pile.word}: {_told(pile.shares)}"), *shapes)


def _told(shares: Sequence[Share]) -> str:
    return ", ".join(f"{share.count} {share.word}" for share in shares if share.count) or "none"
