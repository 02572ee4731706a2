"""`ledger demo`: a walkthrough on generated data."""
