"""Where files are kept: local folders and S3 behind one protocol."""
