"""Phishing campaigns: whom they go to, what became of each mail, and the numbers."""
