"""Clients that others wrote, as their users install them, and programs that call a live service through them."""
