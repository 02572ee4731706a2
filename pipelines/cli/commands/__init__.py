"""The commands of `ledger`, one module each; `cli` lists them.

A module here loads only what its `--help` needs; Dagster, pyarrow and boto3 are loaded inside the command.
"""
