"""The tenancy service: tenants, their cloud accounts and credentials, schedules and their runs."""
