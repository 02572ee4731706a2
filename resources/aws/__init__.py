"""AWS clients and their errors: sessions, S3, obstore and the Glue catalog."""
