"""Keep stream event-source mappings alive across restarts, and never two for one stream and function."""

from typing import Any

KEPT = (
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FunctionResponseTypes",
    "FilterCriteria",
    "DestinationConfig",
    "ParallelizationFactor",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
)


def mappings(functions: Any) -> list[dict[str, Any]]:
    """Every event-source mapping that reads a DynamoDB stream."""
    pages = functions.get_paginator("list_event_source_mappings").paginate()
    found = [mapping for page in pages for mapping in page["EventSourceMappings"]]
    return [mapping for mapping in found if "/stream/" in mapping.get("EventSourceArn", "")]


def revive(functions: Any) -> int:
    """Replace every stream mapping after a restart: the old ones say Enabled and deliver nothing."""
    dead = mappings(functions)
    for mapping in dead:
        functions.delete_event_source_mapping(UUID=mapping["UUID"])
        functions.create_event_source_mapping(
            FunctionName=mapping["FunctionArn"],
            EventSourceArn=mapping["EventSourceArn"],
            Enabled=mapping["State"] in ("Enabled", "Enabling", "Creating"),
            # The stream is empty after a restart, so its beginning misses nothing written since.
            StartingPosition="TRIM_HORIZON",
            **{name: mapping[name] for name in KEPT if mapping.get(name) not in (None, [], {})},
        )
    return len(dead)


def prune(functions: Any, owned: set[str]) -> int:
    """Drop revived mappings that CloudFormation has since made anew; `owned` are its physical ids."""
    removed = 0
    seen = mappings(functions)
    made = {(mapping["FunctionArn"], mapping["EventSourceArn"]) for mapping in seen if mapping["UUID"] in owned}
    for mapping in seen:
        doubled = (mapping["FunctionArn"], mapping["EventSourceArn"]) in made and mapping["UUID"] not in owned
        if doubled or not _function_exists(functions, mapping["FunctionArn"]):
            functions.delete_event_source_mapping(UUID=mapping["UUID"])
            removed += 1
    return removed


def _function_exists(functions: Any, arn: str) -> bool:
    try:
        functions.get_function_configuration(FunctionName=arn)
    except functions.exceptions.ResourceNotFoundException:
        return False
    return True
