"""One copy of everything: `--replicas 1`, and `weir cluster --ephemeral`."""

import pytest

import fleet


def put_and_get(db, value):
    db.put_item(TableName="things", Item={"pk": {"S": "a"}, "v": {"S": value}})
    return db.get_item(TableName="things", Key={"pk": {"S": "a"}}, ConsistentRead=True)["Item"]["v"]["S"]


def test_one_copy_survives_a_kill_and_the_banner_warns(tmp_path):
    data = tmp_path / "data"
    with fleet.Weir(data_dir=data, arguments=["--replicas", "1"]) as weir:
        db = weir.client()
        fleet.create_table(db, "things")
        assert put_and_get(db, "kept") == "kept"
        weir.kill()
        banner = "".join(weir.output) + weir.process.stdout.read()
    assert "WARNING     one copy of everything" in banner
    assert [node.name for node in data.glob("storage-*")] == ["storage-1"]

    # As it was begun, without being told.
    with fleet.Weir(data_dir=data) as weir:
        read = weir.client().get_item(TableName="things", Key={"pk": {"S": "a"}}, ConsistentRead=True)
        assert read["Item"]["v"]["S"] == "kept"
        assert weir.stop() == 0


def test_the_number_of_copies_of_a_folder_cannot_be_changed(tmp_path):
    data = tmp_path / "data"
    with fleet.Weir(data_dir=data, arguments=["--replicas", "1"]) as weir:
        assert weir.stop() == 0
    with pytest.raises(RuntimeError, match="was begun with --replicas 1"):
        fleet.Weir(data_dir=data, arguments=["--replicas", "3"])


def test_a_fleet_of_one_copy_in_memory_serves_and_keeps_nothing(tmp_path):
    with fleet.Cluster(tmp_path, arguments=["--replicas", "1", "--ephemeral"]) as cluster:
        names = list(cluster.processes())
        assert [name for name in names if name.startswith(("storage", "control"))] == ["control-1", "storage-1"]
        db = cluster.client()
        fleet.create_table(db, "things")
        assert put_and_get(db, "here") == "here"
    assert not list((tmp_path / "data").iterdir())
