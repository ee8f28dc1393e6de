# SPDX-License-Identifier: GPL-2.0-only
"""Which implementation is under test, and the proof that it is.

IPSEC_IMPL=intree selects the kernel's own esp4, esp6, ah4 and ah6; anything
else the module ipsec_v3.
"""

import os
import subprocess

INTREE = os.environ.get("IPSEC_IMPL") == "intree"
MODULE = ["ipsec_v3"]
KERNELS_OWN = ["esp4", "esp6", "ah4", "ah6"]
PARAMETERS = os.environ.get("IPSEC_PARAMETERS", "").split()	# of ipsec_v3
WANTED, UNWANTED = (KERNELS_OWN, MODULE) if INTREE else (MODULE, KERNELS_OWN)


def loaded(module):
    return os.path.isdir(f"/sys/module/{module}")


def modprobe(*words):
    """Loads or, with -r, removes modules; returns what went wrong, or ""."""
    done = subprocess.run(["/sbin/modprobe", *words], check=False, text=True,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return (done.stderr.strip() or "failed") if done.returncode else ""


def load():
    """None when the implementation under test and no other is loaded, else why
    not."""
    for module in UNWANTED:
        if loaded(module):
            modprobe("-r", module)
    for module in WANTED:
        parameters = PARAMETERS if [module] == MODULE else []
        if parameters and loaded(module):
            modprobe("-r", module)
        error = modprobe(module, *parameters)
        if error:
            return error.splitlines()[-1]
    return check()


def check():
    """None when the implementation under test did the work, else why not."""
    for module in WANTED:
        if not loaded(module):
            return f"module {module} is not loaded"
    for module in UNWANTED:
        if loaded(module):
            return f"module {module} is loaded as well"
    return None
