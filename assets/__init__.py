"""What exists: the tables, the pure rules that make them, and their thin Dagster declarations."""
