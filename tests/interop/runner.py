"""Runs the Python cases named on the command line and prints the line that the gate adds up."""

import importlib.util
import pathlib
import sys
import time
import unittest


class Lines(unittest.TestResult):
    """Prints one line a test, in the words of the other runners."""

    def __init__(self):
        super().__init__()
        self.passed = 0

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def say(self, test, outcome):
        seconds = time.monotonic() - self.started
        print(f"test {test.id().split('.')[-1]} ... {outcome} ({seconds:.1f} s)", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        self.say(test, "ok")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(test, f"skipped: {reason}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.say(test, "FAILED")

    def addError(self, test, err):
        super().addError(test, err)
        self.started = getattr(self, "started", time.monotonic())
        self.say(test, "FAILED")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.say(subtest, "FAILED")


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def main(paths):
    result = Lines()
    for path in map(pathlib.Path, paths):
        sys.path.insert(0, str(path.resolve().parent))
        load(path).run(result)
    bad = result.failures + result.errors
    for test, trace in bad:
        print(f"-- {test.id()}\n{trace}")
    word = "FAILED" if bad else "ok"
    print(f"test result: {word}. {result.passed} passed; {len(bad)} failed; {len(result.skipped)} skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
