"""Faults ``eio`` and ``eio-for-good``: a sync fails, as that of a disk with a bad block; then the service is restarted.

After a failed sync the kernel forgets what was to be written, and the next sync succeeds without it. So ``eio`` lets
one sync fail and all later ones succeed: who goes on selling on them sells what the disk does not have. Under
``eio-for-good`` every sync fails. In both the service is killed and started again, as one that trusts its disk no
longer asks for.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any, ClassVar

from loadtests.lab.faults.disk.calls import CallsFault
from loadtests.lab.faults.disk.tracing import SYNCS

_POLL_S = 0.01


class EioForGood(CallsFault):
    name: ClassVar[str] = "eio-for-good"
    says: ClassVar[str] = "Every sync of a file fails with EIO; then the service is killed, and started again."
    lasts_s: ClassVar[float] = 1.0
    calls: ClassVar[str] = SYNCS
    how: ClassVar[str] = "error=EIO"
    words: ClassVar[str] = "syncs failed with EIO; then the service was started again"

    def heal(self, server: Any) -> None:
        with contextlib.ExitStack() as last:
            last.callback(super().heal, server)
            server.kill()
        server.start()


class Eio(EioForGood):
    name: ClassVar[str] = "eio"
    says: ClassVar[str] = (
        "A sync of a file fails with EIO, once; later ones succeed. Then the service is killed, and started again."
    )

    def last(self, over: threading.Event) -> str:
        while not self._count() and not over.wait(_POLL_S):
            continue
        seen = self._seen()
        self._traced.close()
        over.wait(self.lasts_s)
        return seen
