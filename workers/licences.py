"""What the name of a licence says of paid use: a name of SPDX or of the Hugging Face hub. Knows names, and no texts:
whether a use is lawful stays for whoever runs the service to judge.
"""

import re

# A part of a name that says it: cc-by-nc-4.0, flux-1-dev-non-commercial-license, sai-nc-community, intel-research.
_UNPAID_WORDS = re.compile(r"(?:^|[-_. ])(?:nc|non[-_ ]?commercial|non[-_ ]?production|research)(?:$|[-_. ])")
# Names that do not say it of themselves, although their texts do.
_UNPAID = frozenset({"apple-amlr", "deepfloyd-if-license", "mnpl-0.1"})
# What image models are published under and may be sold with, under conditions that are the operator's to keep.
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
    """True for a licence that is known to forbid it; one that is not known does not count as such."""
    name = licence.strip().lower()
    return name in _UNPAID or bool(_UNPAID_WORDS.search(name))


def is_known(licence: str) -> bool:
    """Whether the name says anything of paid use."""
    return licence.strip().lower() in _PAID or forbids_paid_use(licence)
