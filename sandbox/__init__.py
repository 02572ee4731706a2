"""A local Amazon Lookout for Equipment with a generated fleet, for the demo and the tests."""
