"""Anomalies: what the models said of each row of sensor data, and the events in it."""
