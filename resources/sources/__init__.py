"""Sources of executions: one protocol, and one module for each kind of source."""
