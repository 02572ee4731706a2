"""Settings and the files beside them: read, validated, refused by name."""
