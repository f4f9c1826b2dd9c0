"""Bytes that are nearly valid: a sample, cut, overwritten, doubled and spliced in a few places."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# A few in each run of the tests, always the same; many and new ones in `make fuzz`.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
# What breaks parsers: the ends of number ranges, as lengths and sizes.
_ODD = st.sampled_from([b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"])


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """One of the samples after one to six changes."""
    content = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, 6))):
        # Twice as often near the beginning, where the headers are.
        most = draw(st.sampled_from([min(64, len(content)), len(content), len(content)]))
        start = draw(st.integers(0, most))
        end = min(len(content), start + draw(st.integers(0, 16)))
        middle = draw(_ODD | st.binary(max_size=8) | st.just(content[start:end] * 2))
        kind = draw(st.sampled_from(["overwrite", "insert", "splice", "cut"]))
        if kind == "overwrite":
            content = content[:start] + middle + content[start + len(middle) :]
        elif kind == "insert":
            content = content[:start] + middle + content[start:]
        elif kind == "splice":
            content = content[:start] + draw(st.sampled_from(samples))[start:]
        else:
            content = content[:start] + content[end:]
    return content
