"""Made-up records of every kind: related, plausible, the same whenever they are made anew."""
