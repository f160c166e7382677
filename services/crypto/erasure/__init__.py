"""Persons erased for good: keys destroyed, data deleted, a certificate, and restores followed."""
