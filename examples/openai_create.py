"""One image by OpenAI's own library. It needs openai 3.3 or newer, and ZEKRON_API_KEY in the environment."""

import base64
import os
from pathlib import Path

from openai import OpenAI

client = OpenAI(base_url="http://localhost:8000/v1", api_key=os.environ["ZEKRON_API_KEY"])
request = {"prompt": "A serene mountain landscape at golden hour", "size": "1024x1024"}  # <request>
reply = client.images.generate(**request)
for index, image in enumerate(reply.data):
    Path(f"image-{index}.png").write_bytes(base64.b64decode(image.b64_json))
