"""The service in a box, for the first run and the tests: a fleet that misbehaves."""
