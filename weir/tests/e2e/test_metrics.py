"""Every metric that a running Weir shows says what it is, and is in docs/metrics.md."""

import re
import urllib.request

import fleet

METRICS = fleet.ROOT / "docs" / "metrics.md"


def test_every_metric_is_described_and_documented(weir, db, table_name):
    fleet.create_table(db, table_name)
    db.put_item(TableName=table_name, Item={"pk": {"S": "a"}})
    with urllib.request.urlopen(f"{weir.admin}/metrics", timeout=10) as answer:
        text = answer.read().decode()

    shown = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    described = set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE))
    documented = dict(re.findall(r"^\| `(weir_\w+)` \| (\w+) \|", METRICS.read_text(), re.MULTILINE))

    assert len(shown) > 50
    assert not set(shown) - described, "metrics without # HELP"
    assert not set(shown) - set(documented), "metrics that docs/metrics.md lacks"
    assert {name: documented[name] for name in shown} == shown
