"""The record service that every service with a Record envelope shares."""
