"""The lake: tables as Hive-partitioned Parquet files with atomic updates."""
