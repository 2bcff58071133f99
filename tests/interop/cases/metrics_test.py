"""Prometheus' own parsers read what a node's metrics port says."""

import json
import os
import pathlib
import re
import subprocess
import unittest
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

STATUS = json.loads((pathlib.Path(os.environ["CONET_INTEROP_WORK"]) / "status.json").read_text())
PROMTOOL = os.environ["CONET_INTEROP_PROMTOOL"]
TIMEOUT_S = 10


def get(url):
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        return response.headers["Content-Type"], response.read().decode("utf-8")


def value(families, name):
    """The sum of a metric's samples, `None` if it is not there."""
    samples = [sample.value for family in families for sample in family.samples if sample.name == name]
    return sum(samples) if samples else None


def in_classic_words(text):
    """OpenMetrics names a counter without the suffix of its samples, the classic text format with it."""
    counters = re.findall(r"^# TYPE (\w+) counter$", text, re.MULTILINE)
    names = "|".join(counters)
    return re.sub(rf"^# (HELP|TYPE) ({names}) ", r"# \1 \2_total ", text, flags=re.MULTILINE)


class Metrics(unittest.TestCase):
    def test_metrics_of_every_node_pass_the_openmetrics_parser(self):
        for node in STATUS["nodes"]:
            content_type, text = get(node["admin"] + "/metrics")
            self.assertTrue(content_type.startswith("application/openmetrics-text; version=1.0.0"), content_type)
            families = list(open_metrics(text))
            self.assertGreater(len(families), 10)
            for family in families:
                self.assertTrue(family.name.startswith("conet_"), family.name)
                self.assertTrue(family.documentation, family.name)
            self.assertGreater(value(families, "conet_ledger_block"), 0)
            self.assertGreaterEqual(value(families, "conet_links_out") + value(families, "conet_links_in"), 0)

    def test_metrics_pass_the_classic_text_parser(self):
        _, text = get(STATUS["nodes"][0]["admin"] + "/metrics")
        families = list(classic(text))
        self.assertIsNotNone(value(families, "conet_handshakes_total"))

    @unittest.skipUnless(os.access(PROMTOOL, os.X_OK), "no promtool could be had here")
    def test_promtool_finds_no_fault(self):
        for node in STATUS["nodes"]:
            _, text = get(node["admin"] + "/metrics")
            page = in_classic_words(text).encode()
            checked = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, timeout=TIMEOUT_S)
            self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""), text)

    def test_counters_only_rise(self):
        port = STATUS["nodes"][0]["admin"]
        first = {f.name: value([f], f.name + "_total") for f in open_metrics(get(port + "/metrics")[1]) if f.type == "counter"}
        request = urllib.request.Request(STATUS["nodes"][0]["endpoint"] + "/nothing", b"nobody", method="POST")
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError:
            pass
        second = {f.name: value([f], f.name + "_total") for f in open_metrics(get(port + "/metrics")[1]) if f.type == "counter"}
        self.assertEqual(first.keys(), second.keys())
        for name, before in first.items():
            self.assertGreaterEqual(second[name], before, name)
        self.assertGreater(second["conet_foreign_requests"], first["conet_foreign_requests"])

    def test_metrics_name_no_wallet_and_no_address(self):
        for node in STATUS["nodes"]:
            _, text = get(node["admin"] + "/metrics")
            self.assertNotIn("0x", text)
            self.assertNotIn("127.0.0.1", text)
