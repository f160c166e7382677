"""Names of the tables of webhooks."""

WEBHOOKS = "webhooks"
SECRETS = "webhook_secrets"
DELIVERIES = "webhook_deliveries"
