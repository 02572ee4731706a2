"""The commands of `ledger`, one module each; `pipelines.cli.app.COMMANDS` lists them."""
