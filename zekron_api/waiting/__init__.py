"""The ASGI handler and the clients that wait in it. It knows generations by their id, and no endpoint."""
