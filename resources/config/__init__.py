"""Settings, the equipment registry and the silences."""
