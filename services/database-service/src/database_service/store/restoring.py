"""What becomes of rows that come out of a backup: the world went on without them, so nothing that is newer may suffer by them.

All of it is one transaction with the restore itself. What was given out and may hold somebody's data by now is forgotten and
not handed out again; what would be deleted waits until somebody has looked; what went on is not gone on with.
"""

from datetime import datetime

from database_service.domain.ids import RECOVERY

CORDON = "restored from a backup; `dbs rebuild --from-world` has not looked at it yet"
"""Why a server that comes out of a backup takes no databases."""

AWAY = "it was going on when the backup was made that this comes from"

CLEAR = """
DO $clear$
DECLARE statement text;
BEGIN
  FOR statement IN SELECT format('DROP TABLE %I.%I CASCADE', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE statement;
  END LOOP;
  FOR statement IN SELECT format('DROP FUNCTION %s CASCADE', p.oid::regprocedure) FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
    EXECUTE statement;
  END LOOP;
END $clear$"""
"""What was there goes, in the transaction that brings what comes."""

FORGET_LEASES = """
DO $leases$
DECLARE name text;
BEGIN
  FOR name IN SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'lease_token' LOOP
    EXECUTE format('UPDATE %I SET lease_until = NULL, lease_token = NULL WHERE lease_token IS NOT NULL', name);
  END LOOP;
END $leases$"""
"""Whoever held one worked on other rows than these."""

# A seat that was held for a database on its way: the database may live there by now, and would be dropped with the seat.
FORGET_SEATS = """
WITH seats AS (
  SELECT id FROM databases WHERE status = 'landing' AND purge_after IS NULL
), freed AS (
  UPDATE slots SET database_id = NULL WHERE database_id IN (SELECT id FROM seats)
), parted AS (
  UPDATE moves SET twin_id = NULL, phase = 'undone', undone_why = current_setting('dbs.away')
  WHERE twin_id IN (SELECT id FROM seats)
)
SELECT count(*) FROM seats"""

DROP_SEATS = "DELETE FROM databases WHERE status = 'landing' AND purge_after IS NULL"

KEEP_LEFT_BEHIND = """
WITH kept AS (
  UPDATE databases SET status = 'released', status_since = current_setting('dbs.at')::timestamptz, due_at = NULL,
    released_at = coalesce(released_at, current_setting('dbs.at')::timestamptz), version = version + 1
  WHERE status = 'landing' RETURNING id
)
INSERT INTO events (at, actor, action, subject, subject_id, before, after, why)
SELECT current_setting('dbs.at')::timestamptz, current_setting('dbs.actor'), 'database.restored', 'database', id, 'landing',
  'released', current_setting('dbs.why') FROM kept"""

END_MOVES = """
UPDATE moves SET phase = CASE WHEN switched_at IS NOT NULL AND undone_why IS NULL THEN 'done' ELSE 'undone' END,
  undone_why = CASE WHEN switched_at IS NULL OR undone_why IS NOT NULL THEN coalesce(undone_why, current_setting('dbs.away')) END
WHERE phase NOT IN ('done', 'undone')"""

END_STEPS = """
UPDATE operation_steps p SET held = false, finished_at = current_setting('dbs.at')::timestamptz,
  state = CASE WHEN p.state = 'pending' THEN 'cancelled' ELSE 'failed' END,
  error = CASE WHEN p.state = 'pending' THEN p.error ELSE coalesce(p.error, current_setting('dbs.away')) END
FROM operations o
WHERE o.id = p.operation_id AND o.finished_at IS NULL AND p.finished_at IS NULL
  AND EXISTS (SELECT FROM moves m WHERE m.operation_id = o.id)"""

LET_GO = """
UPDATE operation_steps p SET held = false FROM operations o
WHERE o.id = p.operation_id AND o.finished_at IS NULL AND p.held AND EXISTS (SELECT FROM moves m WHERE m.operation_id = o.id)"""

# A move is not gone on with, as it would carry old rows over new ones; other work may be, by who has looked.
END_OPERATIONS = """
WITH ended AS (
  SELECT o.id, o.state AS before, EXISTS (SELECT FROM moves m WHERE m.operation_id = o.id) AS moves FROM operations o
  WHERE o.finished_at IS NULL
), put AS (
  UPDATE operations o SET state = CASE WHEN e.moves THEN 'failed' ELSE 'paused' END, wish = NULL, due_at = NULL,
    state_since = current_setting('dbs.at')::timestamptz, version = o.version + 1,
    finished_at = CASE WHEN e.moves THEN current_setting('dbs.at')::timestamptz END,
    last_error = CASE WHEN e.moves THEN current_setting('dbs.away') ELSE o.last_error END
  FROM ended e WHERE o.id = e.id AND (e.moves OR o.state <> 'paused') RETURNING o.id, o.state
)
INSERT INTO events (at, actor, action, subject, subject_id, before, after, why)
SELECT current_setting('dbs.at')::timestamptz, current_setting('dbs.actor'), 'operation.became_' || p.state, 'operation', p.id,
  e.before, p.state, current_setting('dbs.why') FROM put p JOIN ended e USING (id)"""

# A spare of then may be somebody's database by now. It is not handed out a second time: the row goes, the database stays.
FORGET_SPARES = """
WITH spares AS (
  SELECT id FROM databases WHERE instance_id IS NULL AND twin_of IS NULL AND status IN ('spare', 'creating')
), freed AS (
  UPDATE slots SET database_id = NULL WHERE database_id IN (SELECT id FROM spares)
)
DELETE FROM logins WHERE database_id IN (SELECT id FROM spares)"""

DROP_SPARES = """
DELETE FROM databases d WHERE d.instance_id IS NULL AND d.twin_of IS NULL AND d.status IN ('spare', 'creating')"""

# What was released may have been taken back since. It is not deleted before somebody has looked.
HOLD_RELEASED = """
WITH held AS (
  UPDATE databases d SET status = 'released', due_at = NULL, version = d.version + 1
  FROM databases was WHERE was.id = d.id AND d.status IN ('releasing', 'released')
  RETURNING d.id, d.instance_id, was.status AS before
)
INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after, why)
SELECT current_setting('dbs.at')::timestamptz, current_setting('dbs.actor'), 'database.restored', 'database', id, instance_id,
  before, 'released', current_setting('dbs.why') FROM held"""

# A login that was to be made has been made since, and may have been ended since: it does not come to life again.
FORGET_PENDING_LOGINS = """
UPDATE logins l SET state = 'dropped' FROM databases d
WHERE d.id = l.database_id AND l.state = 'pending' AND d.status IN ('ready', 'moving', 'released')"""

LOOK_AT_SERVERS = """
WITH held AS (
  UPDATE servers SET due_at = current_setting('dbs.at')::timestamptz, version = version + 1, cordoned = true,
    cordon_reason = CASE WHEN cordoned THEN cordon_reason ELSE current_setting('dbs.cordon') END
  WHERE status <> 'gone' RETURNING id, status
)
INSERT INTO events (at, actor, action, subject, subject_id, before, after, why)
SELECT current_setting('dbs.at')::timestamptz, current_setting('dbs.actor'), 'server.cordoned', 'server', id, status, status,
  current_setting('dbs.cordon') FROM held"""

HOLD_REMOVALS = "UPDATE drift SET due_at = NULL WHERE due_at IS NOT NULL"

_STEPS = (
    FORGET_LEASES,
    FORGET_SEATS,
    DROP_SEATS,
    KEEP_LEFT_BEHIND,
    END_STEPS,
    LET_GO,
    END_OPERATIONS,
    END_MOVES,
    FORGET_SPARES,
    DROP_SPARES,
    HOLD_RELEASED,
    FORGET_PENDING_LOGINS,
    LOOK_AT_SERVERS,
    HOLD_REMOVALS,
)


def script(at: datetime, made_at: datetime) -> str:
    """What follows the rows of a backup that was made at `made_at`, restored now."""
    told = {
        "dbs.at": at.isoformat(),
        "dbs.actor": RECOVERY,
        "dbs.why": f"restored from the backup of {made_at.isoformat(timespec='seconds')}",
        "dbs.away": AWAY,
        "dbs.cordon": CORDON,
    }
    settings = [f"SET LOCAL {name} = '{value}'" for name, value in told.items()]
    return ";\n".join(("SET LOCAL search_path = public", *settings, *_STEPS)) + ";"
