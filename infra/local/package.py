"""Upload what a built template points at on disk, under names that are content hashes."""

import contextlib
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

BUCKET = "linli-artifacts"
EPOCH = (1980, 1, 1, 0, 0, 0)
# Resource type -> (property, whether it is a folder to zip).
PROPERTIES = {
    "AWS::Serverless::Function": ("CodeUri", True),
    "AWS::Serverless::LayerVersion": ("ContentUri", True),
    "AWS::Serverless::StateMachine": ("DefinitionUri", False),
    "AWS::Serverless::Api": ("DefinitionUri", False),
    "AWS::Serverless::HttpApi": ("DefinitionUri", False),
}


class Packager:
    """Puts folders and files into the artifact bucket, each content once."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        taken = (storage.exceptions.BucketAlreadyOwnedByYou, storage.exceptions.BucketAlreadyExists)
        with contextlib.suppress(*taken):
            storage.create_bucket(Bucket=BUCKET)
        pages = storage.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        self._known = {item["Key"] for page in pages for item in page.get("Contents", [])}

    def package(self, template: dict[str, Any], folder: Path) -> dict[str, Any]:
        """The template with every local path replaced by its uploaded copy; the argument stays as it is."""
        resources = {name: self._resource(item, folder) for name, item in template["Resources"].items()}
        return {**template, "Resources": resources}

    def _resource(self, resource: dict[str, Any], folder: Path) -> dict[str, Any]:
        resource = self._includes(resource, folder)
        name, is_folder = PROPERTIES.get(resource["Type"], ("", False))
        path = resource.get("Properties", {}).get(name)
        if not isinstance(path, str) or path.startswith("s3://"):
            return resource
        body = zipped(folder / path) if is_folder else (folder / path).read_bytes()
        place = {"Bucket": BUCKET, "Key": self.put(body)}
        return {**resource, "Properties": {**resource["Properties"], name: place}}

    def _includes(self, value: Any, folder: Path) -> Any:
        if isinstance(value, list):
            return [self._includes(item, folder) for item in value]
        if not isinstance(value, dict):
            return value
        transform = value.get("Fn::Transform")
        if isinstance(transform, dict) and transform.get("Name") == "AWS::Include":
            key = self.put((folder / transform["Parameters"]["Location"]).read_bytes())
            return {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": f"s3://{BUCKET}/{key}"}}}
        return {key: self._includes(item, folder) for key, item in value.items()}

    def put(self, body: bytes) -> str:
        """The key of an uploaded content."""
        key = hashlib.sha256(body).hexdigest()[:32]
        if key not in self._known:
            self._storage.put_object(Bucket=BUCKET, Key=key, Body=body)
            self._known.add(key)
        return key


def zipped(folder: Path) -> bytes:
    """A zip of a folder that depends on its content only."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return target.getvalue()
