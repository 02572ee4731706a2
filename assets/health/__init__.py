"""Health: how executions ran and how machines did, a row a day."""
