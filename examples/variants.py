"""An example that paints a part of an image anew, in two variants.

Usage:  python variants.py "A red boat" photo.jpg mask.png variant

The mask is a PNG of the image's size, transparent where to paint.

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
    """Post the request, wait for the image, and return the response's `data`, which has the files as base64."""
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
    prompt: str = "Add a rainbow in the sky",
    source: str = "image.png",
    mask: str = "mask.png",
    name: str = "variant",
) -> None:
    """Write the variants to files of this name, and print their seeds, cost and the remaining balance."""
    image, painted = ({"data": base64.b64encode(Path(each).read_bytes()).decode()} for each in (source, mask))
    # The second image has the next seed.
    wanted = {"size": "auto", "n": 2, "seed": 7, "output_format": "webp", "output_compression": 80}
    made = generate({"prompt": prompt, "images": [image], "mask": painted, **wanted})
    for each in made["images"]:
        file = f"{name}-{each['index']}.webp"
        Path(file).write_bytes(base64.b64decode(each["image"]["b64_json"]))
        print(f"{file}: seed {each['seed']}")
    print(f"cost {made['total_cost']} USD, remaining balance {made['remaining_balance']} USD")


if __name__ == "__main__":
    main(*sys.argv[1:])
