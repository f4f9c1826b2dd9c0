"""Virtual environments for programs of others, whose requirements do not go together with the project's."""

import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

INSTALL_SECONDS: Final = 1800


class InstallFailed(Exception):
    """The packages cannot be installed here. The message is the last line of what was said."""


class Environment(NamedTuple):
    """A virtual environment in the folder `home`, with what a file of requirements names."""

    home: Path
    requirements: Path

    @property
    def python(self) -> Path:
        """The path of its interpreter."""
        return self.home / "bin" / "python"

    @property
    def is_installed(self) -> bool:
        """True if it has what the file names today."""
        return self._stamp.exists() and self._stamp.read_text() == self.requirements.read_text()

    def install(self) -> None:
        """Make it, unless it is installed. Raise InstallFailed."""
        if self.is_installed:
            return
        print(f"Installing {self.requirements.name} in {self.home}, which takes minutes.", file=sys.stderr)
        pip = [str(self.python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "1"]
        try:
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(self.home)],
                [*pip, "install", "--requirement", str(self.requirements)],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except subprocess.SubprocessError as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
            raise InstallFailed(said) from error
        self._stamp.write_text(self.requirements.read_text())

    @property
    def _stamp(self) -> Path:
        return self.home / "installed.txt"
