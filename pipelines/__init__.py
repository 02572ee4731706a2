"""When it runs: definitions, jobs, and the command line."""
