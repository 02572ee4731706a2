"""When it runs: definitions, jobs, and the command line.

Belongs here: binding assets to settings, resources, time and people.
Does not belong here: rules and tables (see `assets`), files and sockets (see `resources`).
"""
