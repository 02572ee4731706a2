"""The command line: `ledger --help`."""
