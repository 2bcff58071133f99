"""The vectors of streams, by another implementation."""

import json
import os
import pathlib
import unittest

import streams

TOP = pathlib.Path(os.environ["CONET_INTEROP_TOP"])
VECTORS = TOP / "crates/protocol/tests/vectors/stream.json"


class StreamVectors(unittest.TestCase):
    def test_what_the_page_says_gives_the_keys_commands_and_frames_of_the_vectors(self):
        ours = json.loads(json.dumps(streams.vectors()))
        theirs = json.loads(VECTORS.read_text())
        self.assertEqual(ours["ties"], theirs["ties"])
        self.assertEqual(len(ours["streams"]), len(theirs["streams"]))
        for mine, other in zip(ours["streams"], theirs["streams"]):
            with self.subTest(mine["name"]):
                self.assertEqual(mine, other)

    def test_no_key_seals_two_frames_under_one_counter(self):
        seen = set()
        for stream in json.loads(VECTORS.read_text())["streams"]:
            for circuit in stream["circuits"]:
                for frame in circuit["frames"]:
                    phase = "mixed" if frame["mixed"] else "early"
                    key = circuit["keys"][f"{phase} {frame['from']}"][0]
                    self.assertNotIn((key, frame["counter"]), seen)
                    seen.add((key, frame["counter"]))
