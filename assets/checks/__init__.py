"""Asset checks: what a person should look at though the run succeeded."""
