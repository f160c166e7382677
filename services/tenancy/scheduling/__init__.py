"""Schedules become executions, and executions are run: claims, leases, fences."""
