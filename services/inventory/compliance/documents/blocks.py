"""What every format of document is drawn into before it is read: blocks, each with its place."""

from dataclasses import dataclass, field

MAX_BLOCKS = 200_000
MAX_CHARACTERS = 16_000_000
"""Of all blocks together."""


@dataclass(frozen=True)
class Block:
    """A line, a paragraph or a row of a table."""

    place: str
    """Such as `line 12`, `page 3, line 10` or `sheet 'Controls', row 5`."""
    cells: tuple[str, ...]
    """Of a row; a line has one."""
    table: int = 0
    """Number of the table that the row belongs to; 0 for a line."""
    level: int = 0
    """Of a heading, from 1; 0 for anything else."""

    @property
    def text(self) -> str:
        return " | ".join(cell for cell in self.cells if cell.strip())


class DocumentRefused(Exception):
    """The document cannot be read; ``place`` says where, as Block has it."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place


@dataclass
class Extract:
    """The blocks of a document in their order, and what of it could not be drawn into any."""

    title: str = ""
    blocks: list[Block] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Places and problems."""
    characters: int = 0

    def add(self, block: Block) -> None:
        """Add a block that holds anything; raises DocumentRefused at the limits."""
        if not any(cell.strip() for cell in block.cells):
            return
        self.characters += sum(map(len, block.cells))
        if len(self.blocks) >= MAX_BLOCKS:
            raise DocumentRefused(f"it has more than {MAX_BLOCKS:,} lines and rows", block.place)
        if self.characters > MAX_CHARACTERS:
            raise DocumentRefused(f"it has more than {MAX_CHARACTERS:,} characters", block.place)
        self.blocks.append(block)
