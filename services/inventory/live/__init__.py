"""Live sync: events of AWS accounts lead to single readings."""
