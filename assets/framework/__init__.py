"""What all assets share: partitioned runs, row content, partitions, automation and time windows."""
