"""A verification's report, as commands print it."""

import argparse
import json
from dataclasses import asdict

from services.crypto.audit.findings import Report

_SHOWN = 100
"""Findings that are told one by one as text."""


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how a report is printed."""
    parser.add_argument("--output", choices=["text", "json"], default="text", help="form of stdout")


def printed(report: Report, form: str) -> str:
    """Give a report as text or JSON, with a line break at its end."""
    if form == "json":
        told = {**asdict(report), "root": report.root.hex(), "whole": report.is_whole}
        return json.dumps(told) + "\n"
    lines = [str(finding) for finding in report.findings[:_SHOWN]]
    if (more := len(report.findings) - _SHOWN) > 0:
        lines.append(f"... and {more} findings more")
    lines += [
        f"removed by policy: {entries} entries of {segment}"
        for segment, entries in sorted(report.removed.items())
    ]
    verdict = "WHOLE" if report.is_whole else f"TAMPERED WITH: {len(report.findings)} findings"
    lines.append(
        f"{verdict}; {report.verified} entries verified, {report.pending} not sealed yet, "
        f"tree of {report.size}, {report.checkpoints} checkpoints, {report.anchors} anchors"
    )
    return "\n".join(lines) + "\n"
