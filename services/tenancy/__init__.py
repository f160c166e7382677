"""Tenants, their cloud accounts and credentials, and when these are scanned."""
