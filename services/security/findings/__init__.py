"""Findings have a life: declared states, due times, assignment, and a history of every step."""
