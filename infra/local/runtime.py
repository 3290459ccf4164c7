"""One MiniStack in a folder of its own: start it, talk to it, stop it without losing its state."""

import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from infra.local import streams
from infra.local.process import (
    HOST,
    LocalError,
    http_status,
    is_ours,
    port_free,
    port_open,
    read_json,
    send,
    tail,
    wait_until,
    write_json,
)

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".local"
LAUNCHER = Path(__file__).with_name("launcher.py")
# MiniStack writes every ARN in partition `aws`, whatever the region, so a region of that partition.
REGION = "us-east-1"
ACCOUNT = "000000000000"
# The root caller of MiniStack under AUTH=true; functions get the credentials of their own roles.
ROOT_KEY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
START_SECONDS = 60
STOP_SECONDS = 120
# The first thing MiniStack does at a stop is to save every service's state, the tables' among the last; then it says this.
STATE_SAVED = b"IoT mTLS: stopped"


class Runtime:
    """MiniStack with its state, scratch space and log below one folder."""

    def __init__(self, folder: Path, gateway_port: int = 4566, mqtt_port: int = 8883) -> None:
        self.folder = folder.resolve()
        self.gateway_port = gateway_port
        self.mqtt_port = mqtt_port
        self.state = self.folder / "state"
        self.scratch = self.folder / "tmp"
        self.log = self.folder / "logs" / "ministack.log"
        self.pid_file = self.folder / "runtime.json"
        self.notes: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._session: Any = None

    @property
    def endpoint(self) -> str:
        """Base URL of every service."""
        return f"http://{HOST}:{self.gateway_port}"

    @property
    def alive(self) -> bool:
        """Whether our MiniStack answers."""
        return self._recorded_pid() > 0 and http_status(self.gateway_port, "/_ministack/health") == 200

    def environment(self) -> dict[str, str]:
        """AWS variables for a child process that acts as the operator."""
        no_proxy = {*filter(None, os.environ.get("NO_PROXY", "").split(",")), HOST, "localhost"}
        return {
            **ROOT_KEY,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": ",".join(sorted(no_proxy)),
            "no_proxy": ",".join(sorted(no_proxy)),
        }

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of the operator; options go to its Config."""
        if self._session is None:
            self._session = boto3.Session(
                aws_access_key_id=ROOT_KEY["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=ROOT_KEY["AWS_SECRET_ACCESS_KEY"],
                region_name=REGION,
            )
        settings: dict[str, Any] = {"proxies": {}, "s3": {"addressing_style": "path"}, "read_timeout": 300, **options}
        return self._session.client(service, endpoint_url=self.endpoint, config=Config(**settings))

    @property
    def process_alive(self) -> bool:
        """Whether the MiniStack this object started still runs."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Settle an earlier run, then raise LocalError with what to do if a start cannot work."""
        self._settle_earlier_run()
        self._check_state_version()
        self._check_ports()

    def start(self) -> None:
        """Start and wait until every listener answers; raises LocalError with what to do."""
        self.check()
        restored = any(self.state.glob("*.json"))
        shutil.rmtree(self.scratch, ignore_errors=True)
        for folder in (self.state, self.scratch, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        (self.state / "VERSION").write_text(version("ministack"))
        with self.log.open("wb") as target:
            self._process = subprocess.Popen(
                [sys.executable, str(LAUNCHER)],
                cwd=self.scratch,
                env=self._child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._record(self._process.pid, stopping=False)
        self._wait_ready()
        if restored:
            streams.revive(self.client("lambda"))

    def stop(self) -> None:
        """Stop so that the state is written, then end the process whatever it still waits for."""
        pid = self._recorded_pid()
        if pid:
            self._record(pid, stopping=True)
            self._stop_pid(pid)
        if self._process is not None:
            self._process.wait()
            self._process = None
        self.pid_file.unlink(missing_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> "Runtime":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _child_environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
        settings = {
            "AUTH": "true",
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(self.gateway_port),
            "IOT_MTLS_PORT": str(self.mqtt_port),
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.state),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(self.scratch),
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**inherited, **self.environment(), **settings}

    def _recorded_pid(self) -> int:
        recorded = read_json(self.pid_file) or {}
        pid = int(recorded.get("pid", 0))
        return pid if is_ours(pid, str(LAUNCHER)) else 0

    def _record(self, pid: int, *, stopping: bool) -> None:
        write_json(
            self.pid_file,
            {
                "pid": pid,
                "owner": os.getpid(),
                "gateway_port": self.gateway_port,
                "mqtt_port": self.mqtt_port,
                "stopping": stopping,
            },
        )

    def _settle_earlier_run(self) -> None:
        recorded = read_json(self.pid_file)
        if recorded is None:
            return
        owner, pid = int(recorded["owner"]), self._recorded_pid()
        if pid and owner != os.getpid() and is_ours(owner, "infra.local"):
            raise LocalError(
                f"Linli already runs in this checkout (pid {owner}, port {recorded['gateway_port']}).\n"
                f"Stop it with Ctrl-C in its terminal, or: kill {owner}"
            )
        if pid:
            self.notes.append(f"stopped a MiniStack an earlier run left behind (pid {pid}); its data is kept")
            self._stop_pid(pid, int(recorded["gateway_port"]))
        elif recorded.get("stopping"):
            self.notes.append("the last run was killed while it saved; if something looks odd: make reset")
        else:
            self.notes.append("the last run did not stop cleanly; data is as of the last clean stop")
        self.pid_file.unlink(missing_ok=True)

    def _check_state_version(self) -> None:
        marker = self.state / "VERSION"
        written = marker.read_text().strip() if marker.exists() else ""
        if written and written != version("ministack"):
            raise LocalError(
                f"The saved state was written by MiniStack {written}; this is {version('ministack')}.\n"
                "Start empty with: make reset && make run"
            )

    def _check_ports(self) -> None:
        for port, variable in ((self.gateway_port, "LINLI_PORT"), (self.mqtt_port, "LINLI_MQTT_PORT")):
            if not port_free(port) or port_open(port):
                raise LocalError(f"Port {port} is taken. Choose another: make run {variable}={port + 1000}")

    def _wait_ready(self) -> None:
        process = self._process
        assert process is not None

        def settled() -> bool:
            return process.poll() is not None or http_status(self.gateway_port, "/_ministack/ready") == 200

        ready = wait_until(settled, START_SECONDS)
        if process.poll() is not None:
            self.pid_file.unlink(missing_ok=True)
            raise LocalError(f"MiniStack ended at start. The end of {self.log}:\n{tail(self.log, 8)}")
        if not ready or not port_open(self.mqtt_port):
            self.stop()
            raise LocalError(
                f"MiniStack was not ready in {START_SECONDS} s. The end of {self.log}:\n{tail(self.log, 8)}"
            )

    def _stop_pid(self, pid: int, port: int | None = None) -> None:
        already = self.log.stat().st_size if self.log.exists() else 0
        send(pid, signal.SIGTERM)

        def saved() -> bool:
            gone = not port_open(port or self.gateway_port)
            return gone and (not is_ours(pid, str(LAUNCHER)) or self._logged_since(already, STATE_SAVED))

        if not wait_until(saved, STOP_SECONDS):
            self.notes.append(f"MiniStack did not say within {STOP_SECONDS} s that its state is saved")
        # With a task still waiting, MiniStack never exits by itself; its group holds only its own workers.
        send(pid, signal.SIGKILL, group=True)
        wait_until(lambda: not is_ours(pid, str(LAUNCHER)), 5)

    def _logged_since(self, position: int, text: bytes) -> bool:
        with self.log.open("rb") as log:
            log.seek(position)
            return text in log.read()


def running(folder: Path = FOLDER) -> tuple[Runtime, dict[str, str]] | None:
    """The live runtime of this checkout and its outputs, or None."""
    recorded = read_json(folder / "runtime.json")
    deployed = read_json(folder / "run.json")
    if recorded is None or deployed is None or not deployed.get("complete"):
        return None
    runtime = Runtime(folder, int(recorded["gateway_port"]), int(recorded["mqtt_port"]))
    return (runtime, dict(deployed["outputs"])) if runtime.alive else None
