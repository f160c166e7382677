"""The security service: records of findings, threats, incidents and what is done about them."""
