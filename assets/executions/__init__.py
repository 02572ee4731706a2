"""Inference executions: from pages of bytes to days in the lake, and how complete each day is."""
