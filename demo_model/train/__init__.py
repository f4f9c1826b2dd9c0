"""Trains the parts one after the other. Every stage goes on from its checkpoint, so that many sittings add up."""
