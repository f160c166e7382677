"""Credentials of cloud accounts: kept, versioned, rotated, and lent out as short sessions."""
