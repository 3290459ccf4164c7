"""The commands operators run: loading the books and appointing the first administrator."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from identity import admin, load
from identity.domain import DEFAULT_BOOK
from identity.load import load_divisions
from tests.fakes_identity import anhui, stores
from tests.support import NOW, SEED, table_on_moto

ARN = "arn:aws-cn:sts::123456789012:assumed-role/operations/operator"


@pytest.fixture(params=["fake", "real"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    with stores(request.param) as (divisions, accounts):
        load_divisions(divisions, [row for row in anhui() if row.level <= 2], workers=1)
        yield divisions, accounts


def run(pair: tuple[Any, Any], *arguments: str, cognito: Any = None) -> str:
    clients = {"sts": SimpleNamespace(get_caller_identity=lambda: {"Arn": ARN}), "cognito-idp": cognito}
    return admin.appoint_first_administrator(
        admin.parser().parse_args(arguments),
        divisions=pair[0],
        accounts=pair[1],
        clock=lambda: NOW,
        client=clients.__getitem__,
    )


def test_the_first_administrator_is_appointed_once(pair: tuple[Any, Any]) -> None:
    accounts = pair[1]
    assert "administrator-34" in run(pair, "--subject", "subject-1", "--area", "34")
    account = accounts.account("subject-1")
    assert [(held.role, held.path) for held in account.posts_at(NOW)] == [("administrator", ("34",))]
    [step] = accounts.steps("POST#administrator-34")
    assert (step.subject, step.post, step.at) == (ARN, None, NOW)
    with pytest.raises(SystemExit, match="administrator-34"):
        run(pair, "--subject", "subject-2", "--area", "3401")
    assert accounts.account("subject-2") is None


@pytest.mark.parametrize("area", ["35", "349999", "341000", "３４", ""])
def test_an_area_nobody_knows_is_refused(pair: tuple[Any, Any], area: str) -> None:
    with pytest.raises(SystemExit):
        run(pair, "--subject", "subject-1", "--area", area)
    assert pair[1].first_administrator() is None


def test_a_race_for_the_first_place_has_one_winner(pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = pair[1]
    run(pair, "--subject", "subject-1", "--area", "34")
    monkeypatch.setattr(accounts, "first_administrator", lambda: None)
    with pytest.raises(SystemExit):
        run(pair, "--subject", "subject-2", "--area", "34", "--post-id", "second")
    assert accounts.post("second") is None


class Pool:
    """As much of a user pool as the command needs."""

    class exceptions:  # noqa: N801  # as in botocore
        class UsernameExistsException(Exception):
            pass

    def __init__(self) -> None:
        self.users: dict[str, str] = {}

    def admin_create_user(self, **wanted: str) -> dict[str, Any]:
        name = wanted["Username"]
        if name in self.users:
            raise self.exceptions.UsernameExistsException()
        assert wanted["UserPoolId"] == "pool-1"
        assert wanted["MessageAction"] == "SUPPRESS"
        self.users[name] = f"sub-of-{name}"
        return {"User": {"Attributes": [{"Name": "sub", "Value": self.users[name]}]}}

    def admin_get_user(self, **wanted: str) -> dict[str, Any]:
        return {"UserAttributes": [{"Name": "sub", "Value": self.users[wanted["Username"]]}]}


def test_with_a_user_pool_the_user_comes_first(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = Pool()
    with pytest.raises(SystemExit, match="USER_POOL_ID"):
        run(pair, "--username", "admin", "--area", "34", cognito=pool)
    monkeypatch.setenv("USER_POOL_ID", "pool-1")
    with pytest.raises(SystemExit):
        run(pair, "--username", "admin", "--area", "35", cognito=pool)
    assert "first password" in capsys.readouterr().out
    said = run(pair, "--username", "admin", "--area", "34", cognito=pool)  # the user is there, the post was not
    assert "sub-of-admin" in said
    assert "password" not in capsys.readouterr().out
    assert pair[1].account("sub-of-admin")
    with pytest.raises(SystemExit):
        run(pair, "--username", "other", "--area", "34", cognito=pool)
    assert "other" not in pool.users


def test_the_commands_run_as_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with table_on_moto("identity"):
        monkeypatch.setattr(load, "ThreadPoolExecutor", lambda _: load_in_line())
        monkeypatch.setattr(load, "nbs_rows", lambda _: [row for row in anhui() if row.level <= 2])
        assert load.main([str(SEED / "anhui-divisions.csv")]) == 0
        assert load.main([str(SEED / "anhui-divisions.csv")]) == 0
        assert admin.main(["--subject", "subject-1", "--area", "34"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("17 of 17 division rows written\n0 of 17 division rows written\n")
    assert "subject-1 holds administrator-34" in printed


class load_in_line:  # noqa: N801  # moto does not bear threads
    def __enter__(self) -> "load_in_line":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


def test_a_file_that_contradicts_itself_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text("code,level,name,parent,kind\n34,1,安徽省,,province\n3510,2,某市,34,city\n", encoding="utf-8")
    with pytest.raises(ValueError, match="3510"):
        load.nbs_rows(path)
    assert load.nbs_rows(SEED / "anhui-divisions.csv")[0].book == DEFAULT_BOOK
