"""An example that edits an image.

Usage:  python edit.py "Make it winter" photo.jpg winter.png

Needs requests 2.31 or newer.
"""

import base64
import os
import sys
import uuid
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
    allowed_methods=("POST",),
    raise_on_status=False,
)


def generate(request: dict[str, object]) -> dict:
    """Post the request, wait for the image, and return the response's `data`, which has the PNG as base64."""
    headers = {
        "Authorization": f"Bearer {API_KEY}",
        # Every retry sends the same key, so an image whose response was lost is not paid for twice.
        "Idempotency-Key": str(uuid.uuid4()),
    }
    with requests.Session() as session:
        session.mount(URL, HTTPAdapter(max_retries=RETRY))
        try:
            reply = session.post(f"{URL}/v1/generate", json=request, headers=headers, timeout=150).json()
        except requests.RequestException as error:
            sys.exit(f"No response: {error}")
    if not reply["success"]:
        sys.exit(f"{reply['error']['message']} ({reply['error']['code']})")
    return reply["data"]


def main(
    prompt: str = "Add a rainbow in the sky", source: str = "image.png", file: str = "edited.png"
) -> None:
    """Write the edited image to the file, and print its cost and the remaining balance."""
    image = {"data": base64.b64encode(Path(source).read_bytes()).decode()}
    made = generate({"prompt": prompt, "images": [image], "size": "1024x1024"})
    Path(file).write_bytes(base64.b64decode(made["image"]["b64_json"]))
    print(f"{file}: cost {made['cost']} USD, remaining balance {made['remaining_balance']} USD")


if __name__ == "__main__":
    main(*sys.argv[1:])
