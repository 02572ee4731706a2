"""Alerts: which notifications are due, their text, and the silences that suppress them."""
