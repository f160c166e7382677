"""Every write is in the history: entries of ``iam_audit_logs``, each bound to the one before."""
