"""The inventory service: what runs in the AWS accounts, and whether the plan tells the truth."""
