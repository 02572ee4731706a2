"""Where executions come from: one protocol, one module per kind of source."""
