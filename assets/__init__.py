"""What exists: the tables, the pure rules that make them, and their thin Dagster declarations.

Belongs here: table declarations, rules over Arrow values, and `assets.py` files that bind both to Dagster.
Does not belong here: files and sockets (see `resources`), and when things run (see `pipelines`).
"""
