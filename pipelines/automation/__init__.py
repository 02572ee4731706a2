"""When runs start and who is notified: schedules, sensors and alerts."""
