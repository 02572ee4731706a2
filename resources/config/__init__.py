"""Settings, and the files beside them: the equipment registry and the silences."""
