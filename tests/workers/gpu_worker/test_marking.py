"""A worker that shall sign pictures and cannot: it does not start, and delivers none."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from tests import factories
from tests.certificates import signer_file
from workers.engine.interface import Misconfigured
from workers.gpu_worker import attempt, marking, process
from workers.imaging import c2pa_signing
from workers.models import MadePicture, Status


@pytest.fixture
def signer(settings: Settings, tmp_path: Path) -> Path:
    settings.PROVENANCE = "c2pa"
    settings.C2PA_CERT = settings.C2PA_KEY = signer_file(tmp_path)
    return settings.C2PA_CERT


def test_a_worker_that_can_sign_starts(signer: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    marking.check()
    assert f"pictures are signed by {signer} until 20" in caplog.text


def test_a_certificate_that_has_ended_stops_the_start(
    signer: Path, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "ended"
    folder.mkdir()
    settings.C2PA_CERT = settings.C2PA_KEY = signer_file(folder, now=datetime.now(UTC) - timedelta(days=4000))
    with pytest.raises(Misconfigured) as refused:
        process.GpuWorker(worker_name="gpu@test", capacity=1, queues={"gpu"})
    said = str(refused.value)
    assert said.startswith(f"{settings.C2PA_CERT} does not sign C2PA manifests: ")
    assert "not valid at time of signing" in said
    assert "\n" not in said


def test_files_that_cannot_be_read_stop_the_start(signer: Path, settings: Settings) -> None:
    settings.C2PA_KEY = signer.with_name("none.pem")
    with pytest.raises(Misconfigured, match=r"^C2PA_CERT and C2PA_KEY: .*none\.pem is not a readable file"):
        marking.check()


def test_without_the_library_a_worker_starts_only_if_it_signs_nothing(
    signer: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_signing, "is_installed", lambda: False)
    with pytest.raises(Misconfigured, match=r"c2pa-python of requirements/c2pa\.txt is not installed"):
        marking.check()
    settings.PROVENANCE = "xmp"
    marking.check()


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_cannot_be_signed_is_not_delivered(signer: Path, settings: Settings) -> None:
    settings.C2PA_KEY = signer.with_name("none.pem")
    generation = factories.submit(factories.account(), now=None)
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    generation.refresh_from_db()
    assert (generation.status, generation.image_id, generation.provenance) == (Status.QUEUED, None, "")
    assert "Misconfigured" in generation.error_detail
    assert not MadePicture.objects.exists()
