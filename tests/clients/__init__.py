"""Clients from npm, as their users install them: a program for each in this folder, and `node.py` to run it."""
