"""Many clients pull at once from a process: cold, warm, and after a restart. `make soak ARGS=--load` has more."""

from support.crowds import all_at_once, fetches, images_of, publish
from support.unruly import unruly
from support.whole import assert_clean, configuration, serving

IMAGES = images_of(20, layer_bytes=100_000)
PULLS = 150
# A process has 90 MiB at rest; each client may cost half a megabyte while it is served.
PEAK_MIB_MAX = 160


async def test_a_crowd(tmp_path):
    blobs = {blob for one in IMAGES.values() for blob in one.blobs}
    async with unruly() as registry:
        publish(registry, IMAGES)
        config = configuration(tmp_path, registry.url)
        for restart in range(2):
            async with serving(config) as served:
                for _ in range(2):
                    outcome = await all_at_once(served.registry, IMAGES, PULLS)
                    assert outcome.failures == []
                    assert fetches(registry, IMAGES) == [1] * len(blobs), restart
                assert served.peak() <= PEAK_MIB_MAX
                assert await served.stop() == 0
    assert assert_clean(tmp_path / "state") == len(blobs)
