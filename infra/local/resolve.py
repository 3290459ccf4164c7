"""Evaluate the intrinsic functions a root template uses to feed its applications."""

import re
from collections.abc import Callable, Iterator
from typing import Any

NO_VALUE = object()
_PLACEHOLDER = re.compile(r"\$\{([^!}][^}]*)\}")


class Unresolved(Exception):
    """An intrinsic function or a name the resolver does not know."""


class Resolver:
    """Turns long-form intrinsics into values; names are looked up by `ref` and `attribute`."""

    def __init__(self, parameters: dict[str, Any], conditions: dict[str, Any], pseudo: dict[str, str]) -> None:
        self.values: dict[str, Any] = {**pseudo, **parameters}
        self.attributes: dict[tuple[str, str], Any] = {}
        self.conditions = conditions

    def resolve(self, value: Any) -> Any:
        """The value with every intrinsic evaluated; AWS::NoValue drops the key or the element."""
        if isinstance(value, list):
            items = [self.resolve(item) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            handler = self._functions().get(name)
            if handler:
                return handler(argument)
            if name.startswith("Fn::"):
                raise Unresolved(f"{name} is not supported between the root template and its applications")
        pairs = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not NO_VALUE}

    def holds(self, condition: Any) -> bool:
        """Whether a condition, by name or written out, is true."""
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        name, argument = next(iter(condition.items()))
        if name == "Condition":
            return self.holds(argument)
        if name == "Fn::Equals":
            left, right = (self.resolve(side) for side in argument)
            return str(left) == str(right)
        if name == "Fn::Not":
            return not self.holds(argument[0])
        if name in ("Fn::And", "Fn::Or"):
            results = [self.holds(part) for part in argument]
            return all(results) if name == "Fn::And" else any(results)
        raise Unresolved(f"{name} is not supported in a condition")

    def _functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::If": self._if,
            "Fn::Join": lambda argument: str(argument[0]).join(str(part) for part in self.resolve(argument[1])),
            "Fn::Select": lambda argument: self.resolve(argument[1])[int(self.resolve(argument[0]))],
            "Fn::Split": lambda argument: self.resolve(argument[1]).split(argument[0]),
        }

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name not in self.values:
            raise Unresolved(f"nothing is known about {name}")
        return self.values[name]

    def _get_att(self, argument: Any) -> Any:
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else (argument[0], argument[1])
        if (name, attribute) not in self.attributes:
            raise Unresolved(f"nothing is known about {name}.{attribute}")
        return self.attributes[name, attribute]

    def _if(self, argument: Any) -> Any:
        return self.resolve(argument[1] if self.holds(argument[0]) else argument[2])

    def _sub(self, argument: Any) -> str:
        text, local = (argument, {}) if isinstance(argument, str) else argument

        def replaced(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in local:
                return str(self.resolve(local[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return _PLACEHOLDER.sub(replaced, text).replace("${!", "${")


def references(value: Any) -> Iterator[tuple[str, str | None]]:
    """Every (name, attribute) a value refers to; the attribute is None for a Ref."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item, None
            elif key == "Fn::GetAtt":
                name, _, attribute = (item if isinstance(item, str) else ".".join(item)).partition(".")
                yield name, attribute
            elif key == "Fn::Sub":
                yield from _sub_references(item)
            else:
                yield from references(item)


def _sub_references(argument: Any) -> Iterator[tuple[str, str | None]]:
    text, local = (argument, {}) if isinstance(argument, str) else argument
    for placeholder in _PLACEHOLDER.findall(text):
        if placeholder not in local:
            name, _, attribute = placeholder.partition(".")
            yield name, attribute or None
    yield from references(list(local.values()))
