"""``python -m services.crypto`` under cProfile: from SIGUSR1 until SIGUSR2, into ``$PROFILE``."""

import cProfile
import os
import signal
from types import FrameType

from mesh.server.deployable import end_process
from services.crypto.__main__ import CRYPTO

_PROFILE = cProfile.Profile()


def _begin(_number: int, _frame: FrameType | None) -> None:
    _PROFILE.enable()


def _end(_number: int, _frame: FrameType | None) -> None:
    _PROFILE.disable()
    _PROFILE.dump_stats(os.environ["PROFILE"])


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
    end_process(CRYPTO.main())
