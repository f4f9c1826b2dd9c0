"""Licences by name, from SPDX or the Hugging Face hub: whether a name permits paid use.

The module knows names and no texts. The operator of the service must judge whether a use is lawful.
"""

import re

# These words in a name forbid it: cc-by-nc-4.0, flux-1-dev-non-commercial-license, sai-nc-community, intel-research.
_UNPAID_WORDS = re.compile(r"(?:^|[-_. ])(?:nc|non[-_ ]?commercial|non[-_ ]?production|research)(?:$|[-_. ])")
# The texts of these licences forbid paid use, although their names do not show it.
_UNPAID = frozenset({"apple-amlr", "deepfloyd-if-license", "mnpl-0.1"})
# These licences of image models permit paid use, under conditions that the operator must keep.
_PAID = frozenset(
    {
        "apache-2.0",
        "bigscience-openrail-m",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "creativeml-openrail-m",
        "mit",
        "openrail",
        "openrail++",
        "unlicense",
    }
)


def forbids_paid_use(licence: str) -> bool:
    """Return True for a licence that is known to forbid paid use, and False for an unknown one."""
    name = licence.strip().lower()
    return name in _UNPAID or bool(_UNPAID_WORDS.search(name))


def is_known(licence: str) -> bool:
    """Return True if it is known for this name whether paid use is permitted."""
    return licence.strip().lower() in _PAID or forbids_paid_use(licence)
