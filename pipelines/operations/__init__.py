"""What the commands do, without a terminal: plans, status, import and queries."""
