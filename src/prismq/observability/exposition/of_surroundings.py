"""The metrics of what the queue lives on: server, machine, database, Redis; and of the figures themselves."""

from __future__ import annotations

from prismq.observability.exposition.metric import Kind, Metric
from prismq.storage.measuring import BOUNDARIES_S as QUICK_BUCKETS_S

_C, _G, _H, _I = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.INFO

HTTP = (
    Metric(
        "prismq_http_requests_total",
        _C,
        "Requests that this server answered, by method, route (as the API's reference writes it; `unmatched` for paths "
        "that lead nowhere) and status. 499: the caller had gone.",
        ("method", "route", "status"),
    ),
    Metric(
        "prismq_http_request_seconds",
        _H,
        "How long they took, from the head of the request to the end of the answer. WebSockets are left out.",
        ("method", "route"),
        "seconds",
        buckets=QUICK_BUCKETS_S,
    ),
)

SYSTEM = (
    Metric(
        "prismq_system_cpu_seconds_total",
        _C,
        "Processor time of the machine that answers, all cores together: user, system, idle or other.",
        ("mode",),
        "seconds",
    ),
    Metric("prismq_system_cpus", _G, "Logical processors of that machine."),
    Metric("prismq_system_load1", _G, "Load average of the last minute."),
    Metric("prismq_system_load5", _G, "Load average of the last 5 minutes."),
    Metric("prismq_system_load15", _G, "Load average of the last 15 minutes."),
    Metric("prismq_system_memory_size_bytes", _G, "Memory of that machine.", (), "bytes"),
    Metric("prismq_system_memory_available_bytes", _G, "Memory that programs could still have.", (), "bytes"),
    Metric(
        "prismq_system_disk_size_bytes",
        _G,
        "The volume that the database lies on; absent where it cannot be seen from here.",
        (),
        "bytes",
    ),
    Metric("prismq_system_disk_free_bytes", _G, "What is free there.", (), "bytes"),
    Metric("prismq_system_disk_read_bytes_total", _C, "Read from all disks of that machine.", (), "bytes"),
    Metric("prismq_system_disk_write_bytes_total", _C, "Written to all disks of that machine.", (), "bytes"),
    Metric(
        "prismq_system_network_receive_bytes_total", _C, "Received over all interfaces of that machine.", (), "bytes"
    ),
    Metric("prismq_system_network_transmit_bytes_total", _C, "Sent over all interfaces of that machine.", (), "bytes"),
)

DATABASE = (
    Metric("prismq_database_size_bytes", _G, "What the database takes, its log among it.", (), "bytes"),
    Metric("prismq_database_wal_bytes", _G, "Its write-ahead log.", (), "bytes"),
    Metric("prismq_database_unused_bytes", _G, "Pages of it that hold nothing.", (), "bytes"),
    Metric(
        "prismq_database_connections",
        _G,
        "Connections of the process that answers: active (inside a transaction or a statement) or idle.",
        ("state",),
    ),
    Metric(
        "prismq_database_response_seconds",
        _G,
        "How long one look into an index took just now.",
        (),
        "seconds",
    ),
    Metric(
        "prismq_database_pool_connections",
        _G,
        "Connections that the process that answers uses (in_use), and could use besides (available). On PostgreSQL of "
        "its pool; on SQLite, where each thread has its own, threads of the server. Absent where neither is bounded.",
        ("state",),
    ),
    Metric(
        "prismq_database_query_seconds",
        _H,
        "Statements of the server that answers, until their first row, by what they do: select, insert, update, delete "
        "or other.",
        ("type",),
        "seconds",
        buckets=QUICK_BUCKETS_S,
    ),
    Metric(
        "prismq_database_transaction_seconds",
        _H,
        "Transactions of the server that answers, from when they had their lock, by how they ended: committed or "
        "rolled_back.",
        ("outcome",),
        "seconds",
        buckets=QUICK_BUCKETS_S,
    ),
    Metric(
        "prismq_database_lock_wait_seconds_total",
        _C,
        "How long that server waited for the lock of SQLite's one writer, or for a connection of its pool.",
        (),
        "seconds",
    ),
    Metric(
        "prismq_database_busy_total",
        _C,
        "How often it gave up: a lock or a connection that did not come free in time, a statement that was broken off.",
    ),
)

REDIS = (
    Metric("prismq_redis_up", _G, "1 where Redis answers. Where none is configured the whole group is absent."),
    Metric("prismq_redis_response_seconds", _G, "How long it took to answer just now.", (), "seconds"),
    Metric("prismq_redis_connected_clients", _G, "Clients that are connected to it."),
    Metric("prismq_redis_memory_bytes", _G, "Memory that it uses.", (), "bytes"),
    Metric("prismq_redis_commands_total", _C, "Commands that it has processed since it was started."),
    Metric(
        "prismq_redis_keys",
        _G,
        "Keys in its database, by type. Of more than 2,000 the shares are those of a sample of 1,000.",
        ("type",),
    ),
)

SELF = (
    Metric("prismq_build_info", _I, "The version of prismq that answers.", ("version",)),
    Metric(
        "prismq_metrics_left_out",
        _G,
        "Label values beyond the bound: pairs of queue and type that are counted under `other`, queues likewise, and "
        "workers and schedules that are left out.",
        ("label",),
    ),
    Metric(
        "prismq_alert_instances",
        _G,
        "How many things one of prismq's own alerts is about: those past its threshold, whether it fires yet or not, "
        "as whoever evaluates them saw it within two minutes. 0 where nobody does.",
        ("alert",),
    ),
    Metric("prismq_metrics_collect_seconds", _G, "How long it took to collect these figures.", (), "seconds"),
)
