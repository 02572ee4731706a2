"""The lake: tables as Hive-partitioned Parquet, read, merged and replaced atomically."""
