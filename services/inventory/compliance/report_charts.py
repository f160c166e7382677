"""Charts as inline SVG: bars whose parts carry their own words, for eyes and screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.inventory.compliance.html_parts import Html, tag

WIDTH = 1000
_HEIGHT = 20
_GAP = 3


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
    told = ", ".join(f"{share.count} {share.word}" for share in shown) or "none"
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
        aria_label=f"{of}: {told}",
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
