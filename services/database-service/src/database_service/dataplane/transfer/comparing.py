"""The comparison of two closed databases: rows, sequences, large objects, definitions, and what belongs to a database.

Every difference is told by the name of an object and by counts, never by what is in a row.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import asyncpg

from database_service.dataplane import ddl
from database_service.dataplane.connect import AdminSessions, Session, speaking_of
from database_service.dataplane.transfer import belongings
from database_service.dataplane.transfer.belongings import Belongings
from database_service.dataplane.transfer.movers import Reader, reading
from database_service.dataplane.transfer.programs import Programs, Reach
from database_service.dataplane.transfer.shapes import Shapes
from database_service.dataplane.transfer.surveying import FIRST_OURS, roles_of
from database_service.domain.errors import TransferFailed
from database_service.domain.tenancy import Admin
from database_service.domain.transfers import Passage

K = TypeVar("K", int, str)
T = TypeVar("T")

Entry: TypeAlias = tuple[str, str]
"""Kind and name of a thing, and the statements that make it."""

MOST_TOLD = 50
READERS = 2
"""Tables read at once, on each side."""

_NAMED = f"""
WITH tables AS (
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.relkind, c.relpages
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= {FIRST_OURS} AND c.relpersistence <> 't' AND n.nspname !~ '^pg_toast'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
)
"""

_TABLES = f"""{_NAMED}
SELECT name, format(
    'SELECT count(*) AS rows, sum(hashtextextended(row, 0)) AS digest FROM '
    '(SELECT textin(record_out(ROW(%s))) COLLATE "C" AS row FROM ONLY %s AS the_table) AS rows',
    (SELECT string_agg('the_table.' || quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute
     WHERE attrelid = tables.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'), name) AS query
FROM tables WHERE relkind = 'r' ORDER BY relpages DESC, name
"""
"""For each table, the query for a sum of its rows that does not depend on their order. The columns are sorted by name: those
of a table that inherits may stand in another order after a restore. `record_out` is spelled out, as any shorter way to a text
could be a cast that the tenant has made. One sum of 64 bits: with a second one each row would be put into words twice."""

_SEQUENCES = f"""{_NAMED}
SELECT string_agg(format('SELECT %L AS name, last_value, is_called FROM %s', name, name), ' UNION ALL ') AS query
FROM (SELECT name, row_number() OVER (ORDER BY name) AS number FROM tables WHERE relkind = 'S') AS sequences
GROUP BY number / 200 ORDER BY number / 200
"""

_POPULATED = f"""{_NAMED}
SELECT name, relispopulated AS populated FROM tables JOIN pg_class USING (oid) WHERE tables.relkind = 'm'
"""

_LARGE_OBJECTS = f"""
WITH pages AS (SELECT loid, pageno, rtrim(data, '\\x00'::bytea) AS data, pageno * 2048::int8 + length(data) AS upto
               FROM pg_largeobject),
contents AS (SELECT loid, max(upto) AS bytes,
                    sum(hashtextextended(pageno || ':' || encode(data, 'hex') COLLATE "C", 0)) FILTER (WHERE data <> '') AS digest
             FROM pages GROUP BY loid),
objects AS (
    SELECT oid::int8 AS oid,
           md5(concat_ws(':', pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject'), (
               SELECT string_agg(said, ',' ORDER BY said COLLATE "C") FROM aclexplode(lomacl), concat_ws(
                   ':', pg_get_userbyid(grantor), pg_get_userbyid(grantee), privilege_type, is_grantable) AS said
               WHERE coalesce(shobj_description(grantee, 'pg_authid'), '') <> '{ddl.MOVER_MARK}'
           ), bytes, digest)) AS digest
    FROM pg_largeobject_metadata LEFT JOIN contents ON loid = oid
)
"""
"""A page that is missing, or ends early, reads as zeros; after a restore it may really be there."""

_ALL_LARGE_OBJECTS = f"""{_LARGE_OBJECTS}
SELECT count(*) AS number, sum(hashtextextended(oid || digest COLLATE "C", 0)) AS digest FROM objects
"""

_EACH_LARGE_OBJECT = f"{_LARGE_OBJECTS} SELECT oid, digest FROM objects"

_ROLES = "SELECT rolname::text AS name FROM pg_authid WHERE rolname::text = ANY ($1::text[])"

_COUNTS = f"""
WITH things AS (
    SELECT CASE relkind WHEN 'r' THEN 'tables' WHEN 'p' THEN 'partitioned tables' WHEN 'v' THEN 'views' WHEN 'S' THEN 'sequences'
                        WHEN 'm' THEN 'materialized views' WHEN 'c' THEN 'composite types' WHEN 'f' THEN 'foreign tables'
                        ELSE 'indexes' END AS kind, 'pg_class'::regclass AS class, oid
    FROM pg_class LEFT JOIN pg_index ON indexrelid = oid
    WHERE oid >= {FIRST_OURS} AND relpersistence <> 't' AND relkind <> 't' AND coalesce(indisvalid, true)
      AND relnamespace <> 'pg_toast'::regnamespace
    UNION ALL SELECT 'columns', 'pg_class'::regclass, attrelid FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
              WHERE attrelid >= {FIRST_OURS} AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
                AND relpersistence <> 't'
    UNION ALL SELECT 'constraints', 'pg_constraint'::regclass, oid FROM pg_constraint WHERE oid >= {FIRST_OURS}
    UNION ALL SELECT 'triggers', 'pg_trigger'::regclass, oid FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'rules', 'pg_rewrite'::regclass, oid FROM pg_rewrite WHERE oid >= {FIRST_OURS} AND rulename <> '_RETURN'
    UNION ALL SELECT 'policies', 'pg_policy'::regclass, oid FROM pg_policy
    UNION ALL SELECT 'functions', 'pg_proc'::regclass, oid FROM pg_proc WHERE oid >= {FIRST_OURS}
    UNION ALL SELECT 'types', 'pg_type'::regclass, oid FROM pg_type
              WHERE oid >= {FIRST_OURS} AND typtype <> 'c' AND typcategory <> 'A'
    UNION ALL SELECT 'schemas', 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
    UNION ALL SELECT 'operators', 'pg_operator'::regclass, oid FROM pg_operator WHERE oid >= {FIRST_OURS}
    UNION ALL SELECT 'casts', 'pg_cast'::regclass, oid FROM pg_cast WHERE oid >= {FIRST_OURS}
    UNION ALL SELECT 'extensions', 'pg_extension'::regclass, oid FROM pg_extension
    UNION ALL SELECT 'extended statistics', 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
    UNION ALL SELECT 'publications', 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL SELECT 'comments', classoid, objoid FROM pg_description
              WHERE objoid >= {FIRST_OURS} AND classoid NOT IN ('pg_largeobject'::regclass, 'pg_extension'::regclass)
)
SELECT kind, count(*) AS number FROM things
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = things.oid AND deptype = 'e') GROUP BY kind
"""
"""Parts of extensions aside: their number depends on the version. An index that is not valid is not made again."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases."""

    admin: Admin
    database: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogs of one side say."""

    counts: Mapping[str, int]
    populated: Mapping[str, bool]
    large_objects: asyncpg.Record
    belongings: Belongings


@dataclass(frozen=True, slots=True)
class Comparing:
    """One comparison. The mover is admitted on both servers, and the file knows its password.

    `unhurried` are administrators' sessions with time for as many large objects as there are.
    """

    unhurried: AdminSessions
    programs: Programs
    passage: Passage
    source: Side
    target: Side
    passfile: Path
    readmit: Callable[[], Awaitable[None]]
    """Ends what the mover does on the target, and sets its password again."""

    async def run(self) -> Sequence[str]:
        parts = await together(self._rows(), self._sequences(), self._catalogs())
        found = [*chain.from_iterable(parts), *await self._definitions()]
        return found if len(found) <= MOST_TOLD else [*found[:MOST_TOLD], f"… and {len(found) - MOST_TOLD} more."]

    # -- as the mover -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _readers(self) -> AsyncIterator[tuple[Reader, Reader]]:
        async with (
            reading(self.source.admin, self.passage.mover, self.source.database) as there,
            reading(self.target.admin, self.passage.mover, self.target.database) as here,
        ):
            yield there, here

    async def _rows(self) -> Sequence[str]:
        async with self._readers() as (there, here):
            theirs, ours = await together(there.rows(_TABLES), here.rows(_TABLES))
        known = {row["name"]: row["query"] for row in ours}
        waiting = iter([(row["name"], row["query"], known[row["name"]]) for row in theirs if row["name"] in known])
        parts = await together(*(self._read(waiting) for _ in range(READERS)))
        return sorted(chain.from_iterable(parts))

    async def _read(self, waiting: Iterator[tuple[str, str, str]]) -> Sequence[str]:
        """Table by table, as many as there are left, the same one on both sides at the same time."""
        found = []
        async with self._readers() as (there, here):
            for name, their_query, our_query in waiting:
                if their_query != our_query:
                    found.append(f"The table {name} has other columns on the target.")
                    continue
                (theirs,), (ours,) = await together(there.rows(their_query), here.rows(our_query))
                found.extend(_of_table(name, theirs, ours))
        return found

    async def _sequences(self) -> Sequence[str]:
        async with self._readers() as (there, here):
            theirs, ours = await together(_standings(there), _standings(here))
        return [f"The sequence {name} stands elsewhere on the target." for name in _unlike(theirs, ours)]

    # -- as administrators, catalogs only -----------------------------------------------------------------------------

    async def _catalogs(self) -> Sequence[str]:
        async with (
            self.unhurried.inside(self.source.admin, self.source.database) as there,
            self.unhurried.inside(self.target.admin, self.target.database) as here,
        ):
            standing = [{row["name"] for row in await each.rows(_ROLES, self._roles)} for each in (there, here)]
            both = sorted(standing[0] & standing[1])
            theirs, ours = await together(self._known(there, self.source, both), self._known(here, self.target, both))
            return [
                *_counts(theirs.counts, ours.counts),
                *(f"The materialized view {name} is populated on one side only."
                  for name in _unlike(theirs.populated, ours.populated)),
                *(await _large_objects(there, here) if theirs.large_objects != ours.large_objects else ()),
                *belongings.differences(theirs.belongings, ours.belongings),
            ]  # fmt: skip

    @property
    def _roles(self) -> Sequence[str]:
        return list(roles_of(self.passage.tenant))

    async def _known(self, session: Session, side: Side, roles: Sequence[str]) -> Known:
        """`roles` are on both sides: a login that was made since is on one only."""
        with speaking_of(side.admin):
            return Known(
                counts={row["kind"]: row["number"] for row in await session.rows(_COUNTS)},
                populated={row["name"]: row["populated"] for row in await session.rows(_POPULATED)},
                large_objects=await session.row(_ALL_LARGE_OBJECTS),
                belongings=await belongings.read(session, side.database, roles),
            )

    # -- by pg_dump ---------------------------------------------------------------------------------------------------

    async def _definitions(self) -> Sequence[str]:
        """As they are; where they read differently, the source's made again; and where they still do, both made again.

        A copy was made once more than its source, and what is moved back once less.
        """
        theirs, ours = await together(*(self._schema(side) for side in (self.source, self.target)))
        if theirs != ours:
            theirs = await self._again(self.source, "source")
        if theirs != ours:
            with contextlib.suppress(TransferFailed):  # what cannot be made again is told as it reads
                # What was made again may have run as the mover, and have given its password to somebody.
                await self.readmit()
                ours = await self._again(self.target, "target")
        return list(_of_definitions(theirs, ours))

    async def _schema(self, side: Side) -> Counter[Entry]:
        return self._entries(await self.programs.schema(self._reach(side)))

    async def _again(self, side: Side, called: str) -> Counter[Entry]:
        shapes = Shapes(self.unhurried, self.programs, self.passage, self.passfile)
        return self._entries(await shapes.again(self._reach(side), self.passfile.parent / called))

    def _entries(self, schema: str) -> Counter[Entry]:
        return entries(schema, self.passage.mover.role)

    def _reach(self, side: Side) -> Reach:
        return Reach(side.admin, side.database, self.passage.mover, self.passfile)


async def together(*parts: Coroutine[Any, Any, T]) -> Sequence[T]:
    """All at once; the first that fails ends the others, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]


async def _standings(reader: Reader) -> Mapping[str, tuple[int, bool]]:
    batches = [await reader.rows(row["query"]) for row in await reader.rows(_SEQUENCES)]
    return {row["name"]: (row["last_value"], row["is_called"]) for row in chain.from_iterable(batches)}


def _unlike(theirs: Mapping[K, T], ours: Mapping[K, T]) -> Sequence[K]:
    """Names of what is on both sides and not the same. What is on one side only, the definitions tell."""
    return sorted(name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name])


def _of_table(name: str, theirs: asyncpg.Record, ours: asyncpg.Record) -> Iterator[str]:
    if theirs["rows"] != ours["rows"]:
        yield f"The table {name} has {theirs['rows']} row(s) on the source and {ours['rows']} on the target."
    elif theirs != ours:
        yield f"The table {name} has {ours['rows']} row(s) on both sides, and they are not the same."


def _counts(theirs: Mapping[str, int], ours: Mapping[str, int]) -> Iterator[str]:
    for kind in sorted({*theirs, *ours}):
        there, here = theirs.get(kind, 0), ours.get(kind, 0)
        if there != here:
            yield f"There are {there} {kind} on the source and {here} on the target."


async def _large_objects(there: Session, here: Session) -> Sequence[str]:
    theirs, ours = await _each_large_object(there), await _each_large_object(here)
    missing, unlike = len(theirs.keys() ^ ours.keys()), _unlike(theirs, ours)
    return [
        *([f"{missing} large object(s) are on one side only."] if missing else ()),
        *([f"{len(unlike)} large object(s) differ, among them {unlike[0]}."] if unlike else ()),
    ]


async def _each_large_object(session: Session) -> Mapping[int, str]:
    return {row["oid"]: row["digest"] for row in await session.rows(_EACH_LARGE_OBJECT)}


# -- definitions ------------------------------------------------------------------------------------------------------

_UNLIKE_ANYHOW = re.compile(
    r"^(?:-- Dumped (?:from database|by pg_dump) version .*|\\(?:un)?restrict \S+|COMMENT ON EXTENSION .*)$",
    re.MULTILINE,
)
"""Versions, a key that is made for each dump, and words of the extension's own version."""

_ENTRY = re.compile(r"^--\n-- Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: .*\n--\n", re.MULTILINE)


def entries(schema: str, mover: str) -> Counter[Entry]:
    """What a dump of definitions consists of, without what the mover was shown on one side only.

    The order of grants is that in which they once were made: sorted.
    """
    shown = re.compile(rf"^GRANT (?:SELECT|USAGE) ON .* TO {re.escape(mover)};$\n?", re.MULTILINE)
    parts = _ENTRY.split(shown.sub("", _UNLIKE_ANYHOW.sub("", schema)))
    found = [("the beginning of the dump", parts[0])]
    for name, kind, namespace, text in zip(*(parts[n::4] for n in (1, 2, 3, 4)), strict=True):
        body = "\n".join(sorted(text.splitlines())) if kind.endswith("ACL") else text
        if not body.strip():
            continue
        found.append((f"{kind.lower()} {namespace}.{name}".replace(" -.", " "), body.strip()))
    return Counter(found)


def _of_definitions(theirs: Counter[Entry], ours: Counter[Entry]) -> Iterator[str]:
    there, here = ({label for label, _ in left} for left in (theirs - ours, ours - theirs))
    yield from (f"The {label} is not on the target." for label in sorted(there - here))
    yield from (f"The {label} is on the target only." for label in sorted(here - there))
    yield from (f"The {label} is defined differently." for label in sorted(here & there))
