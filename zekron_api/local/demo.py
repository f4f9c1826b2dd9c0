"""The program of `make demo`, which starts the whole stack on a free port, makes two images and stops it."""

import base64
import fcntl
import http.client
import json
import sys
import time
from typing import Any, Final

from zekron_api.local import logs, run, servers
from zekron_api.local.preparation import BASE_DIR
from zekron_api.local.run import VAR_DIR, Stack, StackFailed, say

FOLDER: Final = VAR_DIR / "demo"
# A large model is slow on a processor without GPU.
REPLY_SECONDS: Final = 300
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def main() -> int:
    """Make one image and one edit, and return the exit status."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with (FOLDER / "lock").open("w") as lock:
            _wait_for_turn(lock.fileno())
            with run.up(name="demo", port=run.free_port()) as running:
                _show(running)
    except (StackFailed, servers.LocalServicesFailed) as error:
        sys.stderr.write(f"zekron: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    say("Done. All processes of the demo have stopped.")
    return 0


def _wait_for_turn(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Waiting for another `make demo` in this folder.")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _show(running: Stack) -> None:
    created = _generate(running, "create", {"prompt": "A serene mountain landscape at golden hour"})
    source = {"data": base64.b64encode(created).decode(), "mime_type": "image/png"}
    _generate(running, "edit", {"prompt": "Add a rainbow in the sky", "images": [source]})
    balance = _call(running, "GET", "/v1/balance")
    say(
        f"Balance: {balance['balance']} {balance['currency']} after {balance['total_generations']} generations"
        f" for {balance['total_spent']}."
    )


def _generate(running: Stack, name: str, request: dict[str, Any]) -> bytes:
    say(f"POST /v1/generate ({name}): {request['prompt']!r}")
    started_at = time.monotonic()
    made = _call(running, "POST", "/v1/generate", request)
    content = base64.b64decode(made["image"]["b64_json"], validate=True)
    if not content.startswith(PNG_SIGNATURE):
        raise StackFailed(f"the image of the {name} is not a PNG")
    path = FOLDER / f"{name}.png"
    path.write_bytes(content)
    say(
        f"  {path.relative_to(BASE_DIR)}: {made['size']}, {len(content):,} bytes,"
        f" in {time.monotonic() - started_at:.1f} s; cost {made['cost']}, balance {made['remaining_balance']}"
    )
    return content


def _call(running: Stack, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send a request and return the `data` of its response.

    Raises StackFailed with the error and the end of the log that explains it.
    """
    headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
    # urllib would use a proxy from the environment, and http.client does not.
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=REPLY_SECONDS)
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        reply: dict[str, Any] = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StackFailed(_explained(running, "web", f"{method} {path}: {error!r}")) from None
    finally:
        connection.close()
    if not reply.get("success"):
        envelope = reply.get("error", {})
        reason = f"{method} {path}: HTTP {response.status}, {envelope.get('code')}: {envelope.get('message')}"
        raise StackFailed(_explained(running, "gpu" if response.status >= 500 else "web", reason))
    data: dict[str, Any] = reply["data"]
    return data


def _explained(running: Stack, name: str, reason: str) -> str:
    return f"{reason}\nThe end of {name}.log:\n{logs.tail(running.logs / f'{name}.log')}"


if __name__ == "__main__":
    sys.exit(main())
