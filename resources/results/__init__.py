"""Result objects: fetched concurrently from S3 buckets."""
