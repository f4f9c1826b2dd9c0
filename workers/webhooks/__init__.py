"""Webhooks: endpoints, the outbox of events, their delivery, signatures, and the addresses that may be called."""
