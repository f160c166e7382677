"""Holds exported OSCAL documents against compliance-trestle, in an environment of its own.

    make oscal OSCAL="results.json poam.json"

compliance-trestle brings SSH and spreadsheet libraries that nothing here needs, so it is no
dependency: `make oscal` fetches it for this one run. The tests hold the same documents against the
structure that its models have (tests/unit/oscal_schemas).
"""

import importlib
import json
import sys
from pathlib import Path

MODELS = {
    "component-definition": "trestle.oscal.component",
    "assessment-results": "trestle.oscal.assessment_results",
    "plan-of-action-and-milestones": "trestle.oscal.poam",
}


def main(files: list[str]) -> int:
    """Read each file with trestle's model of it; give how many are not valid."""
    wrong = 0
    for file in files:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
        (root,) = document
        try:
            importlib.import_module(MODELS[root]).Model.model_validate(document)
        except ValueError as error:
            wrong += 1
            sys.stderr.write(f"{file}: {error}\n")
        else:
            sys.stdout.write(f"{file}: valid {root}\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
