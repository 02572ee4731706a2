"""When assets run: definitions, automation, runs, operations and the command line."""
