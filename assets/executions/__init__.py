"""Inference executions: from pages of bytes to days in the lake, and how far each day is known."""
