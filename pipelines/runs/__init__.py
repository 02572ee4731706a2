"""How runs execute: the launcher, its worker process, the Dagster instance and its diagnostics."""
