"""The work of the commands, independent of the terminal: plans, status, import and queries."""
