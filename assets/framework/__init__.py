"""Shared by all assets: asset specs, materializations, partitioned runs, partitions, automation."""
