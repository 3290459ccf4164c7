"""Which deployment `make admin` means, and that it says so."""

import os
from pathlib import Path

import pytest

from infra.local import admin
from infra.local.runtime import Runtime


@pytest.mark.parametrize(
    ("environment", "account"),
    [
        ({}, False),
        ({"AWS_PROFILE": ""}, False),
        ({"AWS_REGION": "cn-north-1"}, False),
        ({"AWS_PROFILE": "city"}, True),
        ({"AWS_ACCESS_KEY_ID": "key"}, True),
    ],
)
def test_an_account_must_be_chosen(environment: dict[str, str], account: bool) -> None:
    assert admin.account_is_meant(environment) is account


def test_the_local_linli_gets_nothing_of_a_profile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {"AWS_PROFILE": "", "AWS_SESSION_TOKEN": "other"})
    monkeypatch.setattr(admin, "running", lambda: (Runtime(tmp_path), {"IdentityTable": "linli-identity"}))
    assert admin.local_outputs() == {"IdentityTable": "linli-identity"}
    assert "AWS_PROFILE" not in os.environ
    assert "AWS_SESSION_TOKEN" not in os.environ
    assert os.environ["AWS_ENDPOINT_URL"] in capsys.readouterr().out


def test_nothing_runs_and_no_account_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "running", lambda: None)
    with pytest.raises(SystemExit, match="make run"):
        admin.local_outputs()
