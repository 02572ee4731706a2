"""Schedules, sensors and alerts: when runs start, and which notifications are sent."""
