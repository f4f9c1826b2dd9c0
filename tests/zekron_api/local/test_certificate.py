"""The certificate of a local machine: made once, kept from others, and of the profile that C2PA asks for."""

import stat
from pathlib import Path

from tests.factories import at_once
from workers.imaging import c2pa_credential
from zekron_api.local import certificate


def test_many_at_once_get_one_certificate_in_a_file_for_one_user(tmp_path: Path) -> None:
    var = tmp_path / "var"
    paths = at_once(4, lambda _: certificate.load_or_create(var))
    assert set(paths) == {var / "c2pa.pem"}
    assert [path.name for path in var.iterdir()] == ["c2pa.pem"]
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600
    content = paths[0].read_bytes()
    assert certificate.load_or_create(var).read_bytes() == content


def test_it_signs(tmp_path: Path) -> None:
    path = certificate.load_or_create(tmp_path)
    credential = c2pa_credential.read(certificate_file=path, key_file=path)
    assert credential.algorithm == "es256"
    assert credential.certificates.count(b"BEGIN CERTIFICATE") == 2
