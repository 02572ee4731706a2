"""The outside world: everything that opens a file or a socket.

Belongs here: settings, sources, the lake's files, and the errors they end in.
Does not belong here: domain rules (they stand in `assets`) and anything of Dagster's.
"""
