"""Memory, CPUs and slots → postgresql.conf. Every value here is passed to the server itself, never to an environment."""

from collections.abc import Mapping

MIB = 1024 * 1024

CONNECTIONS_PER_SLOT = 8
RESERVED_CONNECTIONS = 10
"""For our own administration: builds, probes, enforcement."""
LEAST_CONNECTIONS, MOST_CONNECTIONS = 60, 500

ALWAYS: Mapping[str, str] = {
    "password_encryption": "scram-sha-256",
    # A crash with 1,000 databases: 0.2 s instead of 24 s of opening every file.
    "recovery_init_sync_method": "syncfs",
    # Idle connections must survive middle boxes that forget them after 900 s.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    # Statements that carry verifiers must not reach a log, also not by failing or by being slow.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length_on_error": "0",
    "log_connections": "off",
    "jit": "off",
    "max_prepared_transactions": "0",
    # The table of locks is everybody's: nobody writes when it is full. A quarter of it is still a dump of 10,000 tables.
    "max_locks_per_transaction": "256",
}


def connections_for(slots: int, memory_bytes: int, per_slot: int = CONNECTIONS_PER_SLOT) -> int:
    """max_connections: some for each slot, as many as memory carries at 8 MiB each in half of it."""
    by_slots = slots * per_slot + RESERVED_CONNECTIONS
    by_memory = memory_bytes // 2 // (8 * MIB)
    return max(min(by_slots, by_memory, MOST_CONNECTIONS), LEAST_CONNECTIONS)


def postgres_settings(
    *, slots: int, memory_bytes: int, cpu: float, per_slot: int = CONNECTIONS_PER_SLOT
) -> dict[str, str]:
    """All parameters of a server of this size. Memory in bytes; shares follow the PostgreSQL manual's advice (25 % shared)."""
    connections = connections_for(slots, memory_bytes, per_slot)
    workers = max(1, round(cpu))

    def mib(share_bytes: float, least: int, most: int = 1 << 30) -> str:
        return f"{max(least, min(most, int(share_bytes) // MIB))}MB"

    return {
        **ALWAYS,
        "max_connections": str(connections),
        "superuser_reserved_connections": "5",
        "shared_buffers": mib(memory_bytes / 4, 32),
        "effective_cache_size": mib(memory_bytes * 0.6, 64),
        "work_mem": mib(memory_bytes / 4 / connections, 1, 64),
        "maintenance_work_mem": mib(memory_bytes / 16, 16, 1024),
        "max_wal_size": mib(memory_bytes / 4, 256, 8192),
        "max_worker_processes": str(workers + 6),
        "max_parallel_workers": str(workers),
        "max_parallel_workers_per_gather": str(max(0, workers // 2)),
        "autovacuum_max_workers": "3",
    }
