"""What the service does by itself: each job by one replica at a time, whoever comes first."""
