"""Smart Data Models (FIWARE) entities, normalised or key-values, as our messages.

A mapping file says which attribute of an entity type is which metric or event of a device class. The published examples do not
all fit their own schemas (the Device example's `ipAddress` does not), so nothing is asked of an entity but what is used.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from infra.edge.messages import (
    EventRule,
    Message,
    MetricRule,
    Source,
    Untranslatable,
    event,
    instant,
    mapping,
    telemetry,
)


def translate(entity: Mapping[str, Any], class_name: str, *, received_at: datetime) -> list[Message]:
    """The messages of one entity for a device of this class; without a time in it, it is of when it was received.

    Raises Untranslatable, naming the attribute, for what no rule covers or a value that cannot be used.
    """
    plain = {name: _value(attribute) for name, attribute in entity.items()}
    source = mapping("ngsi", dict[str, Source]).get(plain.get("type"))
    if source is None or class_name not in source.classes:
        raise Untranslatable("type", f"{plain.get('type')} is not mapped to {class_name}")
    rules = source.classes[class_name]
    device = _first(plain, source.device)
    if device is None:
        raise Untranslatable(source.device[0], "missing")
    field = next((name for name in source.time if plain.get(name) is not None), None)
    at = instant(plain[field], field) if field else received_at
    values = {name: value for name, rule in rules.metrics.items() if (value := _metric(plain, rule)) is not None}
    said = [telemetry(device, {at: values})] if values else []
    for name, rule in rules.events.items():
        said += _events(plain, name, rule, device, at, received_at)
    if not said:
        wanted = [rule.attribute for rule in (*rules.metrics.values(), *rules.events.values())]
        raise Untranslatable(wanted[0], "nothing in the entity that this class reports")
    return said


def _value(attribute: Any) -> Any:
    """Normalised attributes are objects with a value, a relationship's is its object; key-values stand for themselves."""
    if isinstance(attribute, Mapping) and "type" in attribute and ("value" in attribute or "object" in attribute):
        return attribute.get("value", attribute.get("object"))
    return attribute


def _first(plain: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    found = next((plain[name] for name in names if plain.get(name)), None)
    return str(found[0] if isinstance(found, list) else found) if found else None


def _metric(plain: Mapping[str, Any], rule: MetricRule) -> float | None:
    raw = plain.get(rule.attribute)
    if any(plain.get(name) != wanted for name, wanted in rule.when.items()):
        return None
    if rule.key is not None:
        raw = _ultralight(raw).get(rule.key)
    if rule.values is not None:
        return rule.values.get(str(raw))
    if raw is None or raw in rule.missing:
        return None
    try:
        if isinstance(raw, bool):
            raise ValueError
        return float(raw) * rule.scale
    except (TypeError, ValueError) as error:
        raise Untranslatable(rule.attribute, "not a number") from error


def _ultralight(text: Any) -> dict[str, str]:
    """`l=0.22;t=21.2`, percent-encoded as NGSI forbids some characters."""
    pairs = (part.partition("=") for part in unquote(str(text or "")).split(";"))
    return {key: value for key, _, value in pairs if value}


def _events(
    plain: Mapping[str, Any], name: str, rule: EventRule, device: str, at: datetime, received_at: datetime
) -> list[Message]:
    value = plain.get(rule.attribute)
    if value in rule.clear:
        return [event(device, name, at, active=False)]
    if value not in rule.active:
        return []
    said = [event(device, name, at, active=True)]
    if rule.until and plain.get(rule.until) is not None:
        end = instant(plain[rule.until], rule.until)
        said += [event(device, name, end, active=False)] if end <= received_at else []
    return said
