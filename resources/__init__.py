"""The outside world: everything that opens a file or a socket."""
