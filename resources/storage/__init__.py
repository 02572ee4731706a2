"""File storage: local folders and S3 behind two protocols, one for the lake and one for sources."""
