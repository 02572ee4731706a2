"""Alerts: what people are told, once, and what is kept from them on request."""
