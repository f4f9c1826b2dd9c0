"""The modules of the pages, run by Node in place of a browser."""

import json
import subprocess
from typing import Any

from tests.clients import node
from tests.processes import ROOT

_STATIC = ROOT / "zekron_api" / "static" / "zekron_api"
_CALL = """
const [file, name] = process.argv.slice(1);
const module = await import(file);
let text = "";
for await (const part of process.stdin) text += part;
process.stdout.write(JSON.stringify(JSON.parse(text).map((given) => module[name](...given))));
"""


def call(file: str, name: str, *calls: list[Any]) -> list[Any]:
    """Return the results of a function of a module, one for each list of arguments."""
    node.require()
    ended = subprocess.run(
        [node.find(), "--input-type=module", "--eval", _CALL, str(_STATIC / file), name],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    results: list[Any] = json.loads(ended.stdout)
    return results
