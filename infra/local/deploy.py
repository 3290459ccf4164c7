"""Deploy the built root template to the local runtime, each application as a stack of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from infra.local import streams
from infra.local.package import BUCKET, Packager
from infra.local.process import HOST, LocalError, free_port
from infra.local.resolve import Resolver, Unresolved, references
from infra.local.runtime import ACCOUNT, REGION, Runtime
from infra.local.stacks import Stacks

STACK = "linli"
APPLICATION = "AWS::Serverless::Application"
PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": STACK,
}


def deploy(runtime: Runtime, built_template: Path, overrides: dict[str, str], *, quiet: bool = False) -> dict[str, str]:
    """Create or update every stack; returns the root's outputs with local URLs."""
    return Deployment(runtime, built_template, overrides, quiet=quiet).run()


def local_parameters(runtime: Runtime, built_template: Path) -> dict[str, str]:
    """The parameters that differ on this machine, as far as the root declares them."""
    declared = load(built_template).get("Parameters", {})
    local = {
        "CognitoEndpoint": runtime.endpoint,
        "MetricMath": "no",
        "MqttEndpoint": f"{HOST}:{runtime.mqtt_port}",
    }
    return {name: value for name, value in local.items() if name in declared}


@contextmanager
def deployed(folder: Path, built_template: Path) -> Iterator[tuple[Runtime, dict[str, str]]]:
    """An own runtime on free ports with everything deployed, for a test session."""
    with Runtime(folder, free_port(), free_port()) as runtime:
        yield runtime, deploy(runtime, built_template, local_parameters(runtime, built_template), quiet=True)


class Deployment:
    """One walk over the built root template."""

    def __init__(self, runtime: Runtime, built_template: Path, overrides: dict[str, str], *, quiet: bool) -> None:
        self._runtime = runtime
        self._folder = built_template.parent
        self._root = load(built_template)
        self._quiet = quiet
        self._packager = Packager(runtime.client("s3"))
        self._stacks = Stacks(runtime.client("cloudformation"), self._upload)
        self._parameters = parameter_values(self._root, overrides)
        self._resolver = Resolver(self._parameters, self._root.get("Conditions", {}), PSEUDO)
        resources = self._root["Resources"]
        self._applications = {name: item for name, item in resources.items() if self._is_wanted(item)}
        self._plain = {name: item for name, item in resources.items() if item["Type"] != APPLICATION}

    def run(self) -> dict[str, str]:
        """Deploy everything in dependency order."""
        self._deploy_plain()
        for name in deployment_order(self._applications):
            self._deploy_application(name)
        self._prune_mappings()
        outputs = {
            name: item["Value"]
            for name, item in self._root.get("Outputs", {}).items()
            if "Condition" not in item or self._resolver.holds(item["Condition"])
        }
        return {name: str(value) for name, value in self._resolver.resolve(outputs).items()}

    def _is_wanted(self, resource: dict[str, Any]) -> bool:
        wanted = "Condition" not in resource or self._resolver.holds(resource["Condition"])
        return resource["Type"] == APPLICATION and wanted

    def _deploy_plain(self) -> None:
        template = {key: value for key, value in self._root.items() if key not in ("Outputs", "Resources", "Globals")}
        exported, outputs = self._exports()
        self._check_plain()
        body = {**template, "Resources": self._plain, "Outputs": outputs}
        self._deploy_stack(STACK, body, self._parameters, self._folder)
        values = self._stacks.outputs(STACK)
        for key, (name, attribute) in exported.items():
            if key in values and attribute is None:
                self._resolver.values[name] = values[key]
            elif key in values:
                self._resolver.attributes[name, str(attribute)] = values[key]

    def _exports(self) -> tuple[dict[str, tuple[str, str | None]], dict[str, Any]]:
        """One output for each thing the applications or the root's outputs want to know of a plain resource."""
        readers = [item.get("Properties", {}) for item in self._applications.values()]
        wanted = sorted(set(references([*readers, self._root.get("Outputs", {})])), key=str)
        exported: dict[str, tuple[str, str | None]] = {}
        outputs: dict[str, Any] = {}
        for name, attribute in wanted:
            if name not in self._plain:
                continue
            key = f"Export{len(exported)}"
            exported[key] = (name, attribute)
            outputs[key] = {"Value": {"Ref": name} if attribute is None else {"Fn::GetAtt": [name, attribute]}}
            if "Condition" in self._plain[name]:
                outputs[key]["Condition"] = self._plain[name]["Condition"]
        return exported, outputs

    def _check_plain(self) -> None:
        for name, resource in self._plain.items():
            used = {target for target, _ in references(resource.get("Properties", {}))} & self._applications.keys()
            if used:
                raise LocalError(
                    f"template.yaml: {name} uses an output of {', '.join(sorted(used))}.\n"
                    "The root's own resources are deployed first; move it into an application."
                )

    def _deploy_application(self, name: str) -> None:
        properties = self._applications[name]["Properties"]
        path = self._folder / properties["Location"]
        template = load(path)
        try:
            given = self._resolver.resolve(properties.get("Parameters", {}))
        except Unresolved as error:
            raise LocalError(f"template.yaml, application {name}: {error}") from error
        parameters = parameter_values(template, {key: as_text(value) for key, value in given.items()}, name)
        stack = f"{STACK}-{name.lower()}"
        self._deploy_stack(stack, template, parameters, path.parent)
        outputs = self._stacks.outputs(stack)
        self._localise_api(stack, outputs)
        self._resolver.values[name] = stack
        for key, value in outputs.items():
            self._resolver.attributes[name, f"Outputs.{key}"] = value

    def _deploy_stack(self, stack: str, template: dict[str, Any], parameters: dict[str, str], folder: Path) -> None:
        started = time.monotonic()
        done = self._stacks.deploy(stack, self._packager.package(template, folder), parameters)
        if not self._quiet:
            print(f"  stack {stack:<24} {done:<9} {time.monotonic() - started:5.1f} s", flush=True)

    def _localise_api(self, stack: str, outputs: dict[str, str]) -> None:
        """Give the HTTP API its local address; its $default stage serves at the root, so no stage stands in the path."""
        for physical in self._stacks.physical_ids(stack, "AWS::ApiGatewayV2::Api").values():
            if "ApiBaseUrl" in outputs:
                outputs["ApiBaseUrl"] = f"{self._runtime.endpoint}/_aws/execute-api/{physical}"

    def _upload(self, body: bytes) -> str:
        return f"{self._runtime.endpoint}/{BUCKET}/{self._packager.put(body)}"

    def _prune_mappings(self) -> None:
        names = [STACK, *(f"{STACK}-{name.lower()}" for name in self._applications)]
        kind = "AWS::Lambda::EventSourceMapping"
        owned = {physical for name in names for physical in self._stacks.physical_ids(name, kind).values()}
        streams.prune(self._runtime.client("lambda"), owned)


def load(path: Path) -> dict[str, Any]:
    """A built template: plain YAML, long-form intrinsics."""
    content = yaml.safe_load(path.read_text())
    return dict(content)


def parameter_values(template: dict[str, Any], given: dict[str, str], where: str = "template.yaml") -> dict[str, str]:
    """The value of every parameter of a template; unknown and missing ones are errors."""
    declared = template.get("Parameters", {})
    unknown = sorted(given.keys() - declared.keys())
    missing = sorted(name for name, item in declared.items() if name not in given and "Default" not in item)
    if unknown or missing:
        raise LocalError(f"{where}: unknown parameters {unknown}, missing parameters {missing}")
    return {name: as_text(given.get(name, item.get("Default"))) for name, item in declared.items()}


def deployment_order(applications: dict[str, Any]) -> list[str]:
    """The applications, each after those it reads from."""
    graph = {}
    for name, item in applications.items():
        after = item.get("DependsOn", [])
        named = {after} if isinstance(after, str) else set(after)
        used = {target for target, _ in references(item.get("Properties", {}))}
        graph[name] = (used | named) & applications.keys()
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise LocalError(f"template.yaml: applications refer to each other in a circle: {error.args[1]}") from error


def as_text(value: Any) -> str:
    """A parameter value as CloudFormation takes it."""
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
