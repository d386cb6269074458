"""The service manager's end of sd_notify, and plug-ins for a process of its own."""

import os
import select
import socket
import threading
import time


class Manager:
    """Listens on a notify socket, on a thread: it hears the process also while its own event loop is blocked.

    Attributes:
        heard: when and what, oldest first.
    """

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.heard = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def environment(self, watchdog=10.0):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(round(watchdog * 1e6))}

    def _listen(self):
        while not self._stop.is_set():
            if select.select([self._socket], [], [], 0.05)[0]:
                self.heard.append((time.monotonic(), self._socket.recv(4096).decode()))

    def times(self, line):
        return [at for at, text in self.heard if line in text.split("\n")]

    def status(self):
        return next((line for _, text in reversed(self.heard) for line in text.split("\n") if line[:7] == "STATUS="), "")


def plug_in(folder, name, code, **groups):
    """Put a distribution with this module into a folder for PYTHONPATH; `detectors="sleepy:Sleepy"` registers it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[ewarn.{g}]\n{name} = {where}\n" for g, where in groups.items()))
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
