"""Removal of what a source, a scheduler or some days brought into the lake."""
