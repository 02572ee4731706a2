"""Health: expected and actual executions, and running and anomalous time of machines, by day."""
