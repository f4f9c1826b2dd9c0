import pytest

from workers import licences


@pytest.mark.parametrize(
    "name",
    [
        "flux-1-dev-non-commercial-license",
        "FLUX.1 [dev] Non-Commercial License",
        "flux-dev-non-commercial-license",
        "cc-by-nc-4.0",
        "CC-BY-NC-SA-4.0",
        "sai-nc-community",
        "stabilityai-nc-research-community",
        "fair-noncommercial-research-license",
        "intel-research",
        "deepfloyd-if-license",
        "mnpl-0.1",
        " apple-amlr ",
    ],
)
def test_a_name_that_forbids_paid_use_is_known_as_such(name: str) -> None:
    assert licences.forbids_paid_use(name)
    assert licences.is_known(name)


@pytest.mark.parametrize("name", ["Apache-2.0", "MIT", "openrail++", "CC-BY-4.0", "creativeml-openrail-m"])
def test_a_name_that_allows_it_is_known_and_not_refused(name: str) -> None:
    assert not licences.forbids_paid_use(name)
    assert licences.is_known(name)


@pytest.mark.parametrize("name", ["stabilityai-ai-community", "tencent-hunyuan-community", "ncsa", "ours"])
def test_of_any_other_name_nothing_is_known(name: str) -> None:
    assert not licences.forbids_paid_use(name)
    assert not licences.is_known(name)
