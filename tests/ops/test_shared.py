"""What the workers of one Sealgate tell each other."""

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from proxy.ops.shared import Shared


def test_a_file_that_is_just_being_made_is_left_out(tmp_path):
    """A worker that starts while the metrics are read made that fail."""
    (tmp_path / "counter_1.db").touch()
    file = MmapedDict(str(tmp_path / "counter_0.db"))
    file.write_value(mmap_key("a", "a_total", [], [], "What it is"), 3.0, 0.0)
    file.close()
    (metric,) = Shared(tmp_path, 0).counts().collect()
    assert [(one.name, one.value) for one in metric.samples] == [("a_total", 3.0)]
