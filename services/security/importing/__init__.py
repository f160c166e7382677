"""Reads reports of scanners into one neutral model, as streams; knows no record and no network.

`spool.Spool` receives a report, `formats.items` yields what it says, `fingerprint.Fingerprints`
tells which finding of another report each is.
"""
