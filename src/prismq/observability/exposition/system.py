"""The machine that answers: processor, memory, disk, network."""

from __future__ import annotations

import psutil

from prismq.observability.exposition.samples import Samples
from prismq.storage.contract import Space


def system_samples(space: Space | None) -> Samples:
    """What the machine says of itself now. `space`: of the volume that the database lies on, where it is in sight.

    What a system does not tell is left out.
    """
    samples: Samples = {}

    def put(name: str, value: float) -> None:
        samples[f"prismq_system_{name}"] = [((), value)]

    times = psutil.cpu_times()
    # Waiting for a disk is idle time, and guests' time is among the user's already.
    modes = {
        "user": ("user", "nice"),
        "system": ("system",),
        "idle": ("idle", "iowait"),
        "other": ("irq", "softirq", "steal", "interrupt", "dpc"),
    }
    samples["prismq_system_cpu_seconds_total"] = [
        ((mode,), sum(getattr(times, part, 0.0) for part in parts)) for mode, parts in modes.items()
    ]
    put("cpus", psutil.cpu_count() or 1)
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        put(f"load{minutes}", load)
    memory = psutil.virtual_memory()
    put("memory_size_bytes", memory.total)
    put("memory_available_bytes", memory.available)
    if space is not None and space.total is not None and space.free is not None:
        put("disk_size_bytes", space.total)
        put("disk_free_bytes", space.free)
    disks = psutil.disk_io_counters(nowrap=True)
    if disks is not None:  # in some containers
        put("disk_read_bytes_total", disks.read_bytes)
        put("disk_write_bytes_total", disks.write_bytes)
    network = psutil.net_io_counters(nowrap=True)
    if network is not None:  # no interface, in some containers
        put("network_receive_bytes_total", network.bytes_recv)
        put("network_transmit_bytes_total", network.bytes_sent)
    return samples
