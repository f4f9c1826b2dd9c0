"""The commands for people's sign-in."""
