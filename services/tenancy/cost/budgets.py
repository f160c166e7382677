"""Units and calls that the code may need: tests on the exact store hold it to them.

Read units are those of eventually consistent reads of up to 4 KB (half a unit each), write
units those of items up to 1 KB; see ``services.tenancy.store.capacity``.
"""

POLL_UNITS_PER_SHARD = 0.5
"""Read units of one look at a shard of the due index, however many schedules there are."""
POLL_UNITS_PER_DUE = 0.024
"""Read units that each schedule due adds to it."""
CLAIM_WRITE_UNITS = 9
"""Write units of a claim: the schedule moved on, an execution made, five entries of indexes."""
CLAIM_READ_UNITS = 2
"""Read units of a claim: the schedule, and the execution before it."""
RUN_WRITE_UNITS = 22
"""Write units of a run from its claim to its result, with three heartbeats."""
RUN_READ_UNITS = 3
"""Read units of a run."""
BEATS = 3
"""Heartbeats of the run that is budgeted: 90 seconds of work."""
CALLS_PER_RPC = 2
"""Calls of AWS of an ordinary RPC."""
KEY_WRITE_UNITS = 8
"""Write units of an API key that is made: three items, and what repeats the request."""
KEY_READ_UNITS = 3
"""Read units of an API key that a gateway asks about, at most each 20 seconds of its use."""
UPKEEP_LOOKS_PER_HOUR = 60
"""Calls of DynamoDB by which each replica of ``serve`` looks for jobs of upkeep that are due,
beside one more for each run that it began."""
UPKEEP_CALLS_PER_RUN = 4
"""Calls of DynamoDB of a run of upkeep itself: a look more for each replica that waits for it,
claimed, its end told. Each quarter of a lease adds a beat."""
UPKEEP_PAGE = 100
"""Tenants, accounts or credentials that a run of upkeep reads in one call, each tenant's apart."""
UPKEEP_CALLS_PER_VERIFICATION = 8
"""Calls of DynamoDB, Secrets Manager and STS by which an account is verified again, beside one
of each service that is probed."""
UPKEEP_CALLS_PER_KEY = 16
"""Calls of DynamoDB, Secrets Manager and STS by which a key is changed, beside five of IAM."""
