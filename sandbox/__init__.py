"""The service in a box, for the first run and the tests: a fleet that misbehaves.

Belongs here: an imitation of the service and of what people saved from it. It knows nothing of the ledger.
Does not belong here: anything that the ledger needs to run; nothing in `pipelines`, `assets` or `resources`
may import this, nor the other way round.
"""
