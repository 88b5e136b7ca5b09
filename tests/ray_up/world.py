"""Hosts for `ray up` on one machine: a cloud of network namespaces, each with its own sshd.

Only inside `unshare -n -m -p -u --fork --mount-proc --kill-child` (see `enter`): nothing of it is
seen outside, and nothing outlives it. `ray stop` kills every Ray process of its PID namespace, so
every host has one of its own, as well as its own network address, /tmp, /dev/shm and home.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tests

CHECKOUT = Path(tests.__file__).resolve().parent.parent
# What every host sees at the same place: the world's own files, and a folder that is mounted where
# cluster.yaml mounts its network file system.
WORLD = Path("/run/world")
SHARED = WORLD / "shared"
SHARED_MOUNT = Path("/mnt/slrtune")
KEY = WORLD / "id_ed25519"
CLOUD_ADDRESS = "10.77.0.1"
CLOUD_PORT = 8080

_SSHD_CONFIG = f"""
HostKey {WORLD}/host_key
AuthorizedKeysFile {KEY}.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
"""


def enter(arguments: list[str], folder: Path, home: Path) -> subprocess.Popen[str]:
    """Start ``python -m arguments…`` in new namespaces; all that comes of it dies with it.

    Args:
        folder: kept on disk; the world sees it as `WORLD`.
        home: HOME in there, for a token of its own.
    """
    # The whole world goes with the test, even if that is killed.
    namespaces = ["setpriv", "--pdeathsig", "KILL", "unshare"]
    namespaces += ["-n", "-m", "-p", "-u", "--fork", "--mount-proc", "--kill-child"]
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "WORLD_FOLDER": str(folder),
    }
    return subprocess.Popen(
        [*namespaces, sys.executable, "-m", *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(*command: str) -> None:
    """Run a command of the system; its output is in the error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


class Cloud:
    """A cloud with an address where hosts are ordered and given back, as EC2 has one.

    `provider.HostProvider` is its client, in `ray up` and in the autoscaler on the head.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, Any]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._num_made = 0
        self._sold_out: set[str] = set()
        _make_ground()

    def __enter__(self) -> Cloud:
        server = ThreadingHTTPServer((CLOUD_ADDRESS, CLOUD_PORT), _handler_of(self))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.destroy(name)

    def hosts(self) -> dict[str, dict[str, Any]]:
        """Name -> ``ip`` and ``tags`` of every host that lives."""
        with self._lock:
            return json.loads(json.dumps(self._hosts))  # type: ignore[no-any-return]

    def sell_out(self, node_type: str) -> None:
        """From now on there is no host of this type left."""
        self._sold_out.add(node_type)

    def create(self, tags: dict[str, str]) -> bool:
        """Start a host; it answers ssh within about a second. False = sold out."""
        if tags.get("ray-user-node-type") in self._sold_out:
            return False
        with self._lock:
            self._num_made += 1
            number = self._num_made
            name, ip = f"host-{number}", f"10.77.0.{10 + number}"
            self._processes[name] = _start_host(name, ip)
            self._hosts[name] = {"ip": ip, "tags": tags}
        return True

    def set_tags(self, name: str, tags: dict[str, str]) -> None:
        """Add tags to a host."""
        with self._lock:
            if name in self._hosts:
                self._hosts[name]["tags"].update(tags)

    def destroy(self, name: str) -> None:
        """End a host as a cloud takes a spot instance: no packet leaves it any more, then it dies.

        Nobody on it is told, and no connection is closed.
        """
        with self._lock:
            process = self._processes.pop(name, None)
            if process is None:
                return
            run("ip", "link", "set", _wire(name), "down")
            process.send_signal(signal.SIGKILL)
            process.wait()
            del self._hosts[name]


def _make_ground() -> None:
    """Private /run and /tmp, and a bridge that the hosts' wires end at."""
    folder = Path(os.environ["WORLD_FOLDER"])
    kept = _keep([folder, CHECKOUT, Path(sys.prefix)], Path("/run"))
    WORLD.mkdir()
    run("mount", "--bind", str(kept[folder]), str(WORLD))
    SHARED.mkdir(exist_ok=True)
    SHARED_MOUNT.mkdir()
    run("mount", "--bind", str(SHARED), str(SHARED_MOUNT))
    _private_tmp(kept)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "cloud", "type", "bridge")
    run("ip", "addr", "add", f"{CLOUD_ADDRESS}/24", "dev", "cloud")
    run("ip", "link", "set", "cloud", "up")
    for key in (KEY, WORLD / "host_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    (WORLD / "sshd_config").write_text(_SSHD_CONFIG)
    Path("/run/sshd").mkdir()


def _keep(folders: list[Path], run_folder: Path) -> dict[Path, Path]:
    """Where ``folders`` can still be found when /tmp and /run have been covered."""
    hold = Path("/mnt")
    run("mount", "-t", "tmpfs", "tmpfs", str(hold))
    kept = {}
    for number, folder in enumerate(folders):
        kept[folder] = hold / str(number)
        kept[folder].mkdir()
        run("mount", "--bind", str(folder), str(kept[folder]))
    run("mount", "-t", "tmpfs", "tmpfs", str(run_folder))
    return kept


def _private_tmp(kept: dict[Path, Path]) -> None:
    """Cover /tmp; what the tests need of it stays where it was."""
    run("mount", "-t", "tmpfs", "tmpfs", "/tmp")
    for folder, copy in kept.items():
        if folder.is_relative_to("/tmp"):
            folder.mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", str(copy), str(folder))
    lines = [
        f"mkdir -p {folder} && mount --bind {copy} {folder}"
        for folder, copy in kept.items()
        if folder.is_relative_to("/tmp")
    ]
    (WORLD / "restore.sh").write_text("\n".join(["set -e", *lines, ""]))


def _wire(name: str) -> str:
    return f"w{name.removeprefix('host-')}"


def _start_host(name: str, ip: str) -> subprocess.Popen[bytes]:
    """A network namespace wired to the bridge, and in it a host whose first process is sshd."""
    wire = _wire(name)
    run("ip", "netns", "add", name)
    run("ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "link", "set", wire, "master", "cloud", "up")
    route = (
        f"route add default via {CLOUD_ADDRESS}"  # leads nowhere, but Ray asks it for our address
    )
    for command in (f"addr add {ip}/24 dev eth0", "link set eth0 up", "link set lo up", route):
        run("ip", "-n", name, *command.split())
    home = WORLD / "homes" / name
    home.mkdir(parents=True)
    shutil.copyfile("/etc/skel/.bashrc", home / ".bashrc")
    (home / "venv").symlink_to(sys.prefix)
    (WORLD / "homes" / f"{name}.passwd").write_text(
        f"root:x:0:0:root:{home}:/bin/bash\n"
        "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/:/bin/false\n"
    )
    script = f"""
    set -e
    hostname {name}
    mount --bind {home}.passwd /etc/passwd
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /dev/shm
    . {WORLD}/restore.sh
    exec {shutil.which("sshd")} -D -e -f {WORLD}/sshd_config
    """
    unshare = ["unshare", "-m", "-p", "-u", "--fork", "--mount-proc", "--kill-child"]
    with (WORLD / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", name, *unshare, "sh", "-c", script],
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home)},
        )


def _handler_of(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(cloud.hosts())

        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/create":
                orders = [cloud.create(dict(order["tags"])) for _ in range(order["count"])]
                if not all(orders):
                    self.send_error(503, "sold out")
                    return
            elif self.path == "/destroy":
                cloud.destroy(order["name"])
            else:
                cloud.set_tags(order["name"], order["tags"])
            self._answer({})

        def _answer(self, data: Any) -> None:
            body = json.dumps(data).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing to the screen."""

    return Handler


def wait_until(condition: Any, what: str, timeout_s: float) -> float:
    """Seconds until ``condition()`` was true."""
    started_s = time.monotonic()
    while not condition():
        if time.monotonic() - started_s > timeout_s:
            raise AssertionError(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(0.25)
    return time.monotonic() - started_s
