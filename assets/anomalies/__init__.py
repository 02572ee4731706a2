"""Anomalies: what the models report for each row of sensor data, and the events built from it."""
