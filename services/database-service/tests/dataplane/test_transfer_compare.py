"""Whatever is not as it was is found and named, and never shown."""

import sys

from dataplane import menagerie
from dataplane.house import a_login
from dataplane.move import Move

# What is done to the copy, and how that is told. {me} and {other} are its logins, {owner} owns the rest.
CORRUPTIONS = {
    "UPDATE wide SET column_150 = 7": "The table public.wide has 1 row(s) on both sides, and they are not the same.",
    "DELETE FROM fleeting": "The table public.fleeting has 1 row(s) on the source and 0 on the target.",
    "UPDATE mine SET m = 6 - m": "The table public.mine has 2 row(s) on both sides, and they are not the same.",
    "UPDATE child SET a = 2": "The table public.child has 2 row(s) on both sides, and they are not the same.",
    "UPDATE measured_24_b SET value = value WHERE false; UPDATE measured_rest SET value = NULL WHERE value = 700":
        "The table public.measured_rest has 335 row(s) on both sides, and they are not the same.",
    "UPDATE private SET secret = 'hunter2' WHERE owner = 'somebody'":
        "The table public.private has 2 row(s) on both sides, and they are not the same.",
    "SELECT setval('used', 41)": "The sequence public.used stands elsewhere on the target.",
    "SELECT setval('unused', 5, true)": "The sequence public.unused stands elsewhere on the target.",
    "SELECT lo_put(424242, 2500000, 'z')": "1 large object(s) differ, among them 424242.",
    "SELECT lo_put(424243, 100006, '\\x00')": "2 large object(s) differ, among them 424242.",
    "SELECT lo_unlink(424244)": "1 large object(s) are on one side only.",
    "GRANT SELECT ON LARGE OBJECT 424245 TO PUBLIC": "3 large object(s) differ, among them 424242.",
    "DROP INDEX lowered": "The index public.lowered is not on the target.",
    "CREATE INDEX more ON thing (f)": "The index public.more is on the target only.",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'shouted'::regclass":
        "The index public.shouted is not on the target.",
    "DROP TRIGGER before_part ON part": "The trigger public.part before_part is not on the target.",
    "ALTER TABLE part ENABLE TRIGGER sleeping": "The trigger public.part sleeping is defined differently.",
    "DROP POLICY own_rows ON private": "The policy public.private own_rows is not on the target.",
    "ALTER TABLE private NO FORCE ROW LEVEL SECURITY": "The table public.private is defined differently.",
    "GRANT INSERT ON wide TO PUBLIC": "The acl public.TABLE wide is defined differently.",
    "REVOKE SELECT (n) ON mine FROM {other}; GRANT SELECT (n) ON mine TO PUBLIC":
        "The acl public.COLUMN mine.n is on the target only.",
    "CREATE OR REPLACE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'":
        "The function public.touched() is defined differently.",
    "CREATE OR REPLACE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE "
    "AS $$ BEGIN RETURN upper(t) || '!'; -- another\nEND $$": "The function public.shout(text) is defined differently.",
    "COMMENT ON FUNCTION twice(integer) IS 'triples'": "The comment public.FUNCTION twice(n integer) is defined differently.",
    "ALTER TABLE wide ALTER COLUMN column_7 SET DEFAULT 8": "The table public.wide is defined differently.",
    "ALTER TABLE part DROP CONSTRAINT part_id_fkey": "The fk constraint public.part part_id_fkey is not on the target.",
    "ALTER TABLE \"Odd Schema\".\"{longest}\" OWNER TO {me}": "The table Odd Schema.{longest} is defined differently.",
    "ALTER TABLE mine ADD COLUMN extra integer": "The table public.mine has other columns on the target.",
    "CREATE OR REPLACE VIEW seen AS SELECT id, name FROM thing": "The view public.seen is defined differently.",
    "REFRESH MATERIALIZED VIEW never": "The materialized view public.never is populated on one side only.",
    "ALTER TYPE mood RENAME VALUE 'ok' TO 'well'": "The type public.mood is defined differently.",
    "DROP PUBLICATION news": "The publication news is not on the target.",
    "ALTER TABLE thing ALTER COLUMN f SET STATISTICS 8": "The table public.thing is defined differently.",
    "ALTER SEQUENCE round_and_round NO CYCLE": "The sequence public.round_and_round is defined differently.",
    "CREATE TABLE stray (); ALTER TABLE stray OWNER TO {owner}": "There are 17 tables on the source and 18 on the target.",
    "ALTER DATABASE {staging} SET timezone = 'UTC'": "The setting TimeZone of the database differs.",
    "ALTER ROLE {me} RESET search_path": "The setting search_path of the role '{me}' differs.",
    "COMMENT ON DATABASE {staging} IS NULL": "The comment on the database differs.",
    "REVOKE CREATE ON DATABASE {staging} FROM {other}": "CREATE on the database differs for the role '{other}'.",
}  # fmt: skip
ROUNDS = 6
"""A comparison of all there is takes its time, so every sixth is planted at once: neighbours above never are, as some add up, and
one that hides another comes in a later round."""


async def test_every_planted_corruption_is_found_and_named(move: Move) -> None:
    tenant = await move.tenant(menagerie.SCRIPT, logins=(a_login(), a_login()))
    async with move.here.inside(tenant) as conn:
        await conn.execute(menagerie.between_logins(tenant))
    passage = await move.copied(tenant)
    me, other = (login.role for login in tenant.logins)
    names = {
        "me": me,
        "other": other,
        "owner": tenant.owner_role,
        "staging": passage.staging,
        "longest": menagerie.LONGEST,
    }
    told: set[str] = set()
    for number in range(ROUNDS):
        planted = list(CORRUPTIONS.items())[number::ROUNDS]
        async with move.at_the_copy(passage) as conn:
            for corruption, _ in planted:
                await conn.execute(corruption.format_map(names))
        found = set(await move.differences(passage))
        for corruption, telling in planted:
            assert telling.format_map(names) in found - told, (corruption, found - told)
        assert "hunter2" not in str(found)
        told = found
    sys.stdout.write(f"{len(CORRUPTIONS)} planted corruptions, each found\n")
