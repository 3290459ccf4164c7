"""The intrinsics between the root template and its applications, and the order they give."""

import pytest

from infra.local.deploy import as_text, deployment_order, parameter_values
from infra.local.process import LocalError
from infra.local.resolve import Resolver, Unresolved, references


@pytest.fixture
def resolver() -> Resolver:
    conditions = {
        "OwnIssuer": {"Fn::Not": [{"Fn::Equals": [{"Ref": "OidcIssuer"}, ""]}]},
        "Both": {"Fn::And": [{"Condition": "OwnIssuer"}, {"Fn::Equals": [{"Ref": "Prefix"}, "linli"]}]},
        "Either": {"Fn::Or": [{"Condition": "OwnIssuer"}, {"Fn::Equals": [{"Ref": "Prefix"}, "linli"]}]},
    }
    made = Resolver({"Prefix": "linli", "OidcIssuer": ""}, conditions, {"AWS::Region": "us-east-1"})
    made.attributes["Api", "Outputs.Url"] = "http://api"
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ({"Ref": "Prefix"}, "linli"),
        ({"Fn::GetAtt": ["Api", "Outputs.Url"]}, "http://api"),
        ({"Fn::GetAtt": "Api.Outputs.Url"}, "http://api"),
        (
            {"Fn::Sub": "${Prefix}.${AWS::Region}:${Api.Outputs.Url}:${!Literal}"},
            "linli.us-east-1:http://api:${Literal}",
        ),
        ({"Fn::Sub": ["${Given}-${Prefix}", {"Given": {"Ref": "Prefix"}}]}, "linli-linli"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Prefix"}]]}, "a-linli"),
        ({"Fn::Select": [1, {"Fn::Split": [",", "a,b"]}]}, "b"),
        ({"Fn::If": ["OwnIssuer", "own", "cognito"]}, "cognito"),
        ({"Fn::If": ["Both", 1, 2]}, 2),
        ({"Fn::If": ["Either", 1, 2]}, 1),
        ({"kept": 1, "dropped": {"Ref": "AWS::NoValue"}}, {"kept": 1}),
    ],
)
def test_intrinsics(resolver: Resolver, value: object, expected: object) -> None:
    assert resolver.resolve(value) == expected


@pytest.mark.parametrize("value", [{"Ref": "Nobody"}, {"Fn::GetAtt": ["A", "B"]}, {"Fn::ImportValue": "x"}])
def test_what_is_not_known_is_said(resolver: Resolver, value: object) -> None:
    with pytest.raises(Unresolved):
        resolver.resolve(value)


def test_references_finds_every_form() -> None:
    value = {"a": {"Ref": "R"}, "b": [{"Fn::Sub": ["${S.T} ${Own}", {"Own": {"Fn::GetAtt": ["G", "Outputs.X"]}}]}]}
    assert set(references(value)) == {("R", None), ("S", "T"), ("G", "Outputs.X")}


def test_applications_come_after_what_they_read() -> None:
    applications = {
        "Relay": {"Properties": {"Parameters": {"Stream": {"Fn::GetAtt": ["Tickets", "Outputs.Stream"]}}}},
        "Tickets": {"DependsOn": "Api", "Properties": {"Parameters": {"Bus": {"Ref": "Bus"}}}},
        "Api": {"Properties": {}},
    }
    assert deployment_order(applications) == ["Api", "Tickets", "Relay"]


def test_a_circle_is_refused() -> None:
    def reads(name: str) -> dict[str, object]:
        return {"Properties": {"Parameters": {"X": {"Fn::GetAtt": [name, "Outputs.X"]}}}}

    with pytest.raises(LocalError, match="circle"):
        deployment_order({"A": reads("B"), "B": reads("A")})


def test_parameters_must_be_known_and_complete() -> None:
    template = {"Parameters": {"A": {}, "B": {"Default": 5}}}
    assert parameter_values(template, {"A": "1"}) == {"A": "1", "B": "5"}
    with pytest.raises(LocalError, match="unknown parameters \\['C'\\], missing parameters \\['A'\\]"):
        parameter_values(template, {"C": "1"})
    assert [as_text(value) for value in (True, 3, ["a", 1])] == ["true", "3", "a,1"]
