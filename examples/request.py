"""One request in as few lines as possible. It needs requests 2.31 or newer, and ZEKRON_API_KEY in the environment."""

import base64
import os
import uuid
from pathlib import Path

import requests

request = {"prompt": "A serene mountain landscape at golden hour", "size": "1024x1024"}  # <request>
# <sources>
sources = []  # <names>
request["images"] = [{"data": base64.b64encode(Path(name).read_bytes()).decode()} for name in sources]
# </sources>

reply = requests.post(
    "http://localhost:8000/v1/generate",
    json=request,
    headers={
        "Authorization": f"Bearer {os.environ['ZEKRON_API_KEY']}",
        # Send the same key with a retry, so that an image whose response was lost is not paid for twice.
        "Idempotency-Key": str(uuid.uuid4()),
    },
    timeout=150,
).json()
if not reply["success"]:
    raise SystemExit(reply["error"]["message"])
made = reply["data"]
for index, each in enumerate(made.get("images", [made])):
    Path(f"image-{index}.png").write_bytes(base64.b64decode(each["image"]["b64_json"]))
