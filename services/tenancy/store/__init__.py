"""Where tenancy's items live: one port, DynamoDB and an exact engine in memory behind it."""
