"""The walkthrough of `ledger demo` and its generated fleet."""
