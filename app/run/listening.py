"""The listening socket: one opened by the service manager, else a new one."""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

from app.errors import ConfigurationError
from app.settings.plan import ListeningPlan

FIRST_PASSED: Final = 3
"""Where systemd puts the first socket it passes (sd_listen_fds(3))."""


def listen(plan: ListeningPlan, environ: MutableMapping[str, str] = os.environ) -> socket.socket:
    """Raises ConfigurationError.

    A passed socket outlives this process: during a restart, connections wait in the kernel.
    """
    passed = passed_socket(environ)
    if passed is not None:
        return passed
    host, port = plan.host, plan.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=plan.backlog)
    except OSError as error:
        raise ConfigurationError(
            [f"server.host, server.port: cannot listen on {host} port {port}: {error.strerror}"]
        ) from None


def passed_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The one socket that was passed to this process. Raises ConfigurationError if it is not usable."""
    process, count = environ.get("LISTEN_PID"), environ.get("LISTEN_FDS")
    if count is None or process != str(os.getpid()):
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)  # children are not meant
    if count != "1":
        raise ConfigurationError(
            [f"LISTEN_FDS: {count} sockets were passed; give the .socket unit a single ListenStream"]
        )
    try:
        listener = socket.socket(fileno=FIRST_PASSED)
    except OSError as error:
        raise ConfigurationError(
            [f"LISTEN_FDS: the passed descriptor is not a socket: {error.strerror}"]
        ) from None
    if listener.type != socket.SOCK_STREAM or listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise ConfigurationError(
            ["LISTEN_FDS: the passed descriptor is not a TCP socket; set ListenStream to a port"]
        )
    listener.set_inheritable(False)
    return listener


def tell_manager(state: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """sd_notify(3): READY=1, STOPPING=1. Does nothing without a service manager."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.sendall(state.encode())
