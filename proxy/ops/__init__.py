"""What leaves for operators: metrics, the audit log, the log and the status page."""
