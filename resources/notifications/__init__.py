"""Notifications: notices, the targets that receive them, and their delivery."""
