"""`python -m ...take_apart FORMAT`: reads a document from standard input, writes JSON.

A program by itself: who runs it bounds what a foreign document can cost.
"""

import contextlib
import json
import resource
import sys
from typing import Any

from services.inventory.compliance.documents.blocks import DocumentRefused
from services.inventory.compliance.documents.limits import CPU_SECONDS, MEMORY_BYTES

_YAML = "SSP_FORMAT_OSCAL_YAML"


def take_apart(kind: str, content: bytes) -> dict[str, Any]:
    """Give the document's parts, or the problem and its place."""
    try:
        if kind == _YAML:
            from services.inventory.compliance.documents.oscal_yaml import read_yaml

            return {"document": read_yaml(content)}
        from services.inventory.compliance.documents.extraction import EXTRACTORS

        extract = EXTRACTORS[kind](content)
    except DocumentRefused as refused:
        return {"problem": refused.problem, "place": refused.place}
    except RecursionError:
        return {"problem": "the document is nested too deeply", "place": ""}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged file can raise anything in its library
        return {"problem": f"it is damaged: {type(error).__name__}", "place": ""}
    blocks = [[each.place, each.cells, each.table, each.level] for each in extract.blocks]
    return {"title": extract.title, "notes": extract.notes, "blocks": blocks}


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    with contextlib.suppress(ValueError, OSError):  # macOS bounds no address space
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> None:
    """Read, take apart, write; what goes wrong beyond a refusal is the exit code's to tell."""
    _bound()
    try:
        told = take_apart(sys.argv[1], sys.stdin.buffer.read())
    except MemoryError:
        sys.exit(1)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
