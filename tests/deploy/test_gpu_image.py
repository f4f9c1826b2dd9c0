"""The image `gpu`, with all of torch, works for the image `web`: on a processor, with the bundled model."""

import base64
import io
import re
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from tests import processes
from tests.deploy import artefacts, images
from zekron_api.local.run import free_port

pytestmark = [pytest.mark.deploy, pytest.mark.django_db(transaction=True)]

ORDER: Final = {"prompt": "a boat on a lake at night", "size": "512x512"}


def test_both_images_paint_a_picture(container: str, environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    web = [re.sub("^8000$", str(port), word) for word in artefacts.compose()["web"].command]
    gpu = artefacts.compose()["gpu"].command
    of_gpu = {**environment, "METRICS_PORT": str(free_port()), "DEVICE": "cpu"}
    with (
        images.container(images.build("gpu")) as with_torch,
        images.running(container, web, environment=environment, log=tmp_path / "web.log"),
        images.running(with_torch, gpu, environment=of_gpu, log=tmp_path / "gpu.log") as worker,
    ):
        server = processes.ready(f"http://127.0.0.1:{port}")
        assert images.probe(of_gpu) == (200, 200)
        created = server.ask("/v1/generate", ORDER)
        assert created.status == 200, created.content
        content = base64.b64decode(created.json["data"]["image"]["b64_json"])
        assert Image.open(io.BytesIO(content)).size == (512, 512)
        assert images.stop(worker) == 0
