"""Ours and Prowler on one account: what each costs, and what each says when reads fail."""
