"""An ewarn command as a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid


class Command:
    """Runs at once; what it logs goes to a file."""

    def __init__(self, folder, *args, environment=None):
        self.log = folder / f"{args[0]}-{uuid.uuid4().hex[:4]}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ewarn", *map(str, args)], stdout=subprocess.PIPE, stderr=log,
                env=os.environ | (environment or {}),
            )  # fmt: skip

    @property
    def running(self):
        return self.process.poll() is None

    def says(self, text):
        return text in self.log.read_text()

    def first_line(self):
        return json.loads(self.process.stdout.readline())

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """SIGTERM; it has to end soon. Gives how."""
        self.signal(signal.SIGTERM)
        code = self.process.wait(15)
        self.process.stdout.close()
        return code

    def stop(self):
        """SIGTERM; it has to end well, too."""
        assert self.end() == 0, self.log.read_text()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
