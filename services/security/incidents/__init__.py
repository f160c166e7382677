"""Incidents: declared states, escalation by people and by time, playbooks."""
