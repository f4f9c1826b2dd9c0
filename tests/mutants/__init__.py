"""The guards of the guards: each is taken out of a private copy of the project, and some test must then go red."""
