# SPDX-License-Identifier: GPL-2.0-only
"""What goes on in another thread while a test does its work.

	with meanwhile(step):		# step() again and again, to its end
		...
"""

import contextlib
import threading


@contextlib.contextmanager
def meanwhile(step):
    done = threading.Event()

    def work():
        while not done.is_set():
            step()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
