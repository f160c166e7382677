"""Exceptions: failures of checks that are accepted until a date, by two people."""
