"""Waits for a server of the cluster to listen, and for a web process to be ready for clients."""

import http.client
import socket
import time

START_SECONDS = 120


def wait_for_port(address: tuple[str, int]) -> None:
    """Return once a server listens at the address. Raise OSError if none does in time."""
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def wait_until_ready(address: tuple[str, int]) -> None:
    """Return once the web process at the address says that the service is ready. Raise TimeoutError."""
    give_up_at = time.monotonic() + START_SECONDS
    said = "nothing"
    while time.monotonic() < give_up_at:
        connection = http.client.HTTPConnection(*address, timeout=10)
        try:
            connection.request("GET", "/readyz")
            reply = connection.getresponse()
            said = reply.read().decode()
            if reply.status == 200:
                return
        except OSError as error:
            said = str(error)
        finally:
            connection.close()
        time.sleep(0.25)
    raise TimeoutError(f"the web at {address} did not become ready: {said}")
