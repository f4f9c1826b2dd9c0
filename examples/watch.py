"""An example that submits an image without waiting, watches its events, and downloads it.

Usage:  python watch.py "A lighthouse in fog" lighthouse.png

Needs requests 2.31 or newer.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

URL = os.environ.get("ZEKRON_URL", "http://localhost:8000")
API_KEY = os.environ.get("ZEKRON_API_KEY") or sys.exit("Set ZEKRON_API_KEY to your API key.")

# urllib3 waits for the time in Retry-After, and also retries after a lost connection.
RETRY = Retry(
    total=4,
    backoff_factor=1,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods=("GET", "POST"),
    raise_on_status=False,
)


def call(session: requests.Session, method: str, path: str, **options) -> requests.Response:
    """Send a request, and return its response or end with the error's message."""
    try:
        response = session.request(method, URL + path, timeout=45, **options)
    except requests.RequestException as error:
        sys.exit(f"No response: {error}")
    if not response.ok:
        error = response.json()["error"]
        sys.exit(f"{error['message']} ({error['code']})")
    return response


def submit(session: requests.Session, request: dict[str, object]) -> int:
    """Submit the request and return the id of its generation."""
    # Every retry sends the same key, so a request whose response was lost makes no second image.
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    response = call(session, "POST", "/v1/generate", json={**request, "async": True}, headers=headers)
    return response.json()["data"]["id"]


def watch(session: requests.Session, generation_id: int) -> dict:
    """Print the events, and return the generation that the last one has."""
    while True:
        # A comment comes every 15 seconds, so a longer silence is a lost connection.
        with call(session, "GET", f"/v1/generations/{generation_id}/events", stream=True) as stream:
            try:
                for name, data in read_events(stream):
                    if name in {"completed", "failed", "cancelled"}:
                        return data
                    print(f"{name}: {json.dumps(data)}", file=sys.stderr)
            except requests.RequestException:
                print("The connection was lost.", file=sys.stderr)
        # The first event of a new stream is the present state, so nothing that matters is missed.
        time.sleep(2)


def read_events(stream: requests.Response) -> Iterator[tuple[str, dict]]:
    """Yield the name and the data of each event. Here each event is written as three lines."""
    stream.encoding = "utf-8"
    name = ""
    for line in stream.iter_lines(chunk_size=1, decode_unicode=True):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def main(prompt: str = "A serene mountain landscape at golden hour", file: str = "image.png") -> None:
    """Write the image to the file, and print its cost."""
    with requests.Session() as session:
        session.mount(URL, HTTPAdapter(max_retries=RETRY))
        session.headers["Authorization"] = f"Bearer {API_KEY}"
        generation = watch(session, submit(session, {"prompt": prompt, "size": "1024x1024"}))
        if error := generation["error"]:
            sys.exit(f"{error['message']} ({error['code']})")
        Path(file).write_bytes(call(session, "GET", f"/v1/images/{generation['token']}").content)
    print(f"{file}: cost {generation['cost']} USD")


if __name__ == "__main__":
    main(*sys.argv[1:])
