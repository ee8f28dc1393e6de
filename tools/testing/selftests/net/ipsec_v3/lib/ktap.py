# SPDX-License-Identifier: GPL-2.0-only
"""Registry of test cases, KTAP output, exit status.

	@ktap.case("a dummy packet is a replay the second time",
		   intree_fails="dummies do not enter the window")
	def dummy():
		...
		ktap.equal(counted, 1, "RxReplay")

	ktap.add("esp4/gcm/esn", function, argument)	# cases made in a loop
	ktap.main()

A case fails by raising: Failed from the checks below, or anything else.  It
raises Skip when what it needs is not there.  A case with intree_fails must fail
when IPSEC_IMPL=intree: it then counts as passed, and as failed if it passes.
"""

import argparse
import collections
import os
import signal
import sys
import time
import traceback

from . import impl

CASE_SECONDS = 240
SHORT = bool(os.environ.get("IPSEC_SHORT"))


class Skip(Exception):
    """What the case needs is not there; the argument says what."""


class Failed(Exception):
    """A check did not hold."""


class Case:
    def __init__(self, name, function, arguments=(), intree_fails=None):
        self.name = name
        self.function = function
        self.arguments = arguments
        self.intree_fails = intree_fails


CASES = []


def add(name, function, *arguments, intree_fails=None):
    CASES.append(Case(name, function, arguments, intree_fails))


def case(name, intree_fails=None):
    def register(function):
        add(name, function, intree_fails=intree_fails)
        return function
    return register


def digit_sum(number, base):
    total = 0
    while number:
        number, digit = divmod(number, base)
        total += digit
    return total


def shorten(n):
    """In the short form, of the cases of each function so far one of n, the first among them.

    Which ones follows from the digits of their numbers: every nth would leave out what comes every nth
    time in a loop, as one of two families or protocols.
    """
    if not SHORT:
        return
    seen, kept = collections.Counter(), []
    for case_ in CASES:
        if digit_sum(seen[case_.function], n) % n == 0:
            kept.append(case_)
        seen[case_.function] += 1
    CASES[:] = kept


def skip_file(why):
    """Ends a file that has nothing to test here; its cases can be listed all the same."""
    if "--list" in sys.argv:
        return
    print(f"TAP version 13\n1..0 # SKIP {why}", flush=True)
    sys.exit(4)


def say(text):
    """A diagnostic line."""
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def fail(text):
    raise Failed(text)


def check(truth, text):
    if not truth:
        raise Failed(text)


def equal(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {shown(got)}, not {shown(wanted)}")


def shown(value):
    if isinstance(value, (bytes, bytearray)):
        text = value.hex()
        return f"{text[:80]}... ({len(value)} bytes)" if len(text) > 80 else text
    return repr(value)


def wait_for(condition, what, seconds=20):
    """Polls until condition() is true; for what happens on its own time.

    what: that it is true, for "{what}: not within 20 s"
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def expired(*_):
    raise Failed(f"not finished after {CASE_SECONDS} s")


def outcome(case_):
    """(passed, directive and reason)"""
    try:
        signal.alarm(CASE_SECONDS)
        case_.function(*case_.arguments)
    except Skip as reason:
        return True, f" # SKIP {reason}"
    except Failed as reason:
        say(reason)
    except Exception:
        say(traceback.format_exc())
    else:
        if impl.INTREE and case_.intree_fails:
            return False, f" # passed, although in-tree: {case_.intree_fails}"
        return True, ""
    finally:
        signal.alarm(0)
    if impl.INTREE and case_.intree_fails:
        return True, f" # XFAIL in-tree: {case_.intree_fails}"
    return False, ""


def run_cases(cases):
    failures = 0
    for number, case_ in enumerate(cases, 1):
        passed, note = outcome(case_)
        failures += not passed
        print(f"{'ok' if passed else 'not ok'} {number} {case_.name}{note}",
              flush=True)
    return failures


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", metavar="SUBSTRING", action="append",
                        help="run the cases whose name contains it")
    parser.add_argument("--list", action="store_true",
                        help="print the names and run nothing")
    return parser.parse_args()


def chosen_cases(only):
    return [c for c in CASES
            if not only or any(word in c.name for word in only)]


def main(before=None, after=None):
    """Runs the cases and exits; before and after are called around them."""
    args = parse_arguments()
    cases = chosen_cases(args.only)
    if args.list:
        print("\n".join(c.name for c in cases))
        sys.exit(0)
    if not cases:
        sys.exit(f"no case's name contains {' or '.join(args.only)}; --list prints them")

    if os.geteuid():
        skip_file("needs root")
    print("TAP version 13")
    start = time.monotonic()
    print(f"1..{len(cases)}", flush=True)
    error = impl.load()
    if error:
        print(f"Bail out! {error}", flush=True)
        sys.exit(1)
    signal.signal(signal.SIGALRM, expired)
    failures = work(cases, before, after)
    error = impl.check()
    if error:
        say(f"this run proves nothing: {error}")
    say(f"{', '.join(impl.WANTED)}: {len(cases) - failures} of {len(cases)} as "
        f"expected, {time.monotonic() - start:.0f} s")
    sys.exit(1 if failures or error else 0)


def work(cases, before, after):
    try:
        if before:
            before()
        return run_cases(cases)
    finally:
        if after:
            after()
