"""The choice of the files that sign pictures: C2PA_CERT and C2PA_KEY, or a local machine's own."""

from collections.abc import Callable
from pathlib import Path

from zekron_api.config.env import InvalidVariable


def choose(
    *,
    certificate_file: Path | None,
    key_file: Path | None,
    is_signed: bool,
    make_own: Callable[[], Path] | None,
) -> tuple[Path | None, Path | None]:
    """Return the files of the certificates and of the key. Both are None where nothing is signed without them.

    `make_own` returns a file with both, and is None outside a local machine. Raise InvalidVariable for one without the
    other, and for none outside a local machine if pictures are signed.
    """
    if certificate_file is None and key_file is not None:
        raise InvalidVariable("C2PA_CERT", "is not set, but C2PA_KEY is; set both or neither")
    if key_file is None and certificate_file is not None:
        raise InvalidVariable("C2PA_KEY", "is not set, but C2PA_CERT is; set both or neither")
    if certificate_file is not None or not is_signed:
        return certificate_file, key_file
    if make_own is None:
        raise InvalidVariable(
            "C2PA_CERT", "is not set, and PROVENANCE=c2pa needs it and C2PA_KEY outside a local machine"
        )
    own = make_own()
    return own, own
