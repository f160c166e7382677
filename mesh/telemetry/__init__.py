"""Metrics and traces of a process, on the OpenTelemetry API.

Code that measures uses the API alone, which does nothing until a process turns it on.
"""
