"""Reports: how the executions went, how the machines did, and the page that people read."""
