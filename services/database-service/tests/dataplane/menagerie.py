"""A database with one of everything a tenant can make without a superuser, to see whether it survives."""

from database_service.domain.tenancy import TenantSpec

ODD = """Odd "name" % it's äöü"""
NEWLINE = "two\nlines; DROP TABLE x; --"
LONGEST = "ä" * 31 + "x"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


WIDE = ", ".join(f"column_{n} integer DEFAULT {n}" for n in range(300))

SCRIPT = f"""
CREATE SCHEMA IF NOT EXISTS extras;
CREATE EXTENSION citext;
CREATE EXTENSION hstore SCHEMA extras;
CREATE SCHEMA "Odd Schema";
COMMENT ON SCHEMA "Odd Schema" IS 'a schema with a space';

CREATE TYPE mood AS ENUM ('sad', 'ok', 'ha''ppy');
ALTER TYPE mood ADD VALUE 'between' BEFORE 'ok';
CREATE TYPE pair AS (x integer, y text);
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0) DEFAULT 1;
COMMENT ON TYPE mood IS 'how it is';
COMMENT ON DOMAIN positive IS 'above zero';

CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN n * 2;
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN upper(t) || '!'; -- a comment
END $$;
CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE product(float8) (sfunc = float8mul, stype = float8, initcond = 1);
CREATE OPERATOR public.+# (leftarg = integer, rightarg = integer, function = int4pl);
CREATE CAST (pair AS text) WITH INOUT AS ASSIGNMENT;
CREATE COLLATION plain FROM "C";
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
COMMENT ON FUNCTION twice(integer) IS 'doubles';
COMMENT ON OPERATOR public.+# (integer, integer) IS 'adds more';
REVOKE EXECUTE ON FUNCTION shout(text) FROM PUBLIC;

CREATE TABLE thing (
    id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 7) PRIMARY KEY,
    name citext UNIQUE, tags extras.hstore, how mood, at pair, during span, amount positive,
    data bytea, f float8, r real, n numeric, j jsonb, a integer[], t timestamptz, i interval, u uuid, x xml,
    doubled integer GENERATED ALWAYS AS (twice(id::integer)) STORED,
    halved integer GENERATED ALWAYS AS (id / 2) VIRTUAL,
    gone integer, b bit varying, m money, ip inet
) WITH (fillfactor = 80);
ALTER TABLE thing DROP COLUMN gone;
INSERT INTO thing (name, tags, how, at, during, data, f, r, n, j, a, t, i)
SELECT 'Thing ' || n, 'a=>1'::extras.hstore, 'between',
       ROW(n, 'y"' || n)::pair, span(n, n + 1), decode('00ff00', 'hex'), 'NaN', '-infinity',
       'infinity', '{{"a": null}}', ARRAY[1, NULL, 3], 'infinity', '1 mon -3 days' FROM generate_series(1, 50) AS n;
INSERT INTO thing DEFAULT VALUES;
COMMENT ON TABLE thing IS 'table';
COMMENT ON COLUMN thing.name IS 'column';
COMMENT ON CONSTRAINT thing_pkey ON thing IS 'constraint';
CREATE INDEX lowered ON thing (lower(name::text)) WHERE how <> 'sad';
COMMENT ON INDEX lowered IS 'index';
CREATE INDEX shouted ON thing (shout(name::text));
ALTER TABLE thing CLUSTER ON thing_pkey;
ALTER TABLE thing ALTER COLUMN data SET STORAGE EXTERNAL, ALTER COLUMN f SET STATISTICS 7;
CREATE STATISTICS both_of ON f, r FROM thing;

CREATE TABLE part (id integer REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED, whole bigint,
                   EXCLUDE USING btree (whole WITH =));
CREATE TABLE wide ({WIDE});
INSERT INTO wide DEFAULT VALUES;
CREATE TABLE empty_one ();
CREATE TABLE {_quoted(ODD)} ({_quoted(ODD)} text, "Select" integer);
INSERT INTO {_quoted(ODD)} VALUES (E'tab\\t newline\\n back\\\\slash \\\\. ', 1), (NULL, 2), ('', 3);
COMMENT ON TABLE {_quoted(ODD)} IS E'quo''te and\\nnewline';
CREATE TABLE {_quoted(NEWLINE)} (the_table integer, t integer, "row" integer);
INSERT INTO {_quoted(NEWLINE)} SELECT n, n, n FROM generate_series(1, 10) AS n;
CREATE TABLE "Odd Schema".{_quoted(LONGEST)} ("percent%s" integer);
INSERT INTO "Odd Schema".{_quoted(LONGEST)} VALUES (1);
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS n;

CREATE TABLE measured (at date NOT NULL, value integer) PARTITION BY RANGE (at);
CREATE TABLE measured_24 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY HASH (value);
CREATE TABLE measured_24_a PARTITION OF measured_24 FOR VALUES WITH (modulus 2, remainder 0);
CREATE TABLE measured_24_b PARTITION OF measured_24 FOR VALUES WITH (modulus 2, remainder 1);
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
CREATE INDEX ON measured (at);
INSERT INTO measured SELECT '2024-01-01'::date + n, n FROM generate_series(1, 700) AS n;

CREATE TABLE parent (a integer, CHECK (a > 0));
CREATE TABLE child (z integer DEFAULT 5) INHERITS (parent);
ALTER TABLE parent ADD COLUMN later text DEFAULT 'late';
INSERT INTO parent VALUES (1);
INSERT INTO child (a) VALUES (2), (3);

CREATE SEQUENCE used; SELECT nextval('used') FROM generate_series(1, 42);
CREATE SEQUENCE unused START 5 INCREMENT -2 MINVALUE -100 MAXVALUE 10;
CREATE SEQUENCE round_and_round MAXVALUE 3 CYCLE CACHE 2; SELECT nextval('round_and_round') FROM generate_series(1, 5);
COMMENT ON SEQUENCE used IS 'sequence';

CREATE VIEW seen WITH (security_barrier) AS SELECT id, name FROM thing WHERE f = 'NaN' WITH LOCAL CHECK OPTION;
COMMENT ON VIEW seen IS 'view';
CREATE RECURSIVE VIEW counted (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counted WHERE n < 5;
CREATE MATERIALIZED VIEW summed AS SELECT how, count(*) AS number FROM thing GROUP BY how;
CREATE UNIQUE INDEX ON summed (how);
CREATE MATERIALIZED VIEW never AS SELECT 1 AS one WITH NO DATA;
CREATE RULE ignored AS ON DELETE TO empty_one DO INSTEAD NOTHING;

CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.whole := 7; RETURN NEW; END $$;
CREATE TRIGGER before_part BEFORE INSERT ON part FOR EACH ROW WHEN (NEW.id IS NOT NULL) EXECUTE FUNCTION touched();
CREATE TRIGGER sleeping BEFORE UPDATE ON part FOR EACH ROW EXECUTE FUNCTION touched();
ALTER TABLE part DISABLE TRIGGER sleeping;
COMMENT ON TRIGGER before_part ON part IS 'trigger';
INSERT INTO part VALUES (100), (NULL);

CREATE TABLE private (owner name, secret text);
INSERT INTO private VALUES ('somebody', 'else'), (current_user, 'mine');
ALTER TABLE private ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON private USING (owner = current_user);
COMMENT ON POLICY own_rows ON private IS 'policy';

CREATE DOMAIN answer AS varchar CHECK (VALUE IN ('yes', 'no'));
CREATE TABLE listed (
    s varchar CHECK (s IN ('a', 'b')), u varchar(20) CONSTRAINT unlike CHECK (u NOT IN ('a', 'b')), said answer,
    c char(3) CHECK (c IN ('a', 'b')), v varchar(3) DEFAULT 'x'::varchar(3) || 'y', i integer,
    g boolean GENERATED ALWAYS AS (s IN ('a', 'b')) STORED
);
INSERT INTO listed (s, u, said) VALUES ('a', 'c', 'yes');
CREATE INDEX partly ON listed (i) WHERE s IN ('a', 'b');
CREATE VIEW some_listed AS SELECT * FROM listed WHERE s IN ('a', 'b');
CREATE POLICY few ON listed USING (s IN ('a', 'b'));
CREATE TRIGGER when_listed BEFORE UPDATE ON listed FOR EACH ROW WHEN (NEW.s IN ('a', 'b')) EXECUTE FUNCTION touched();

SELECT lo_from_bytea(0, repeat('x', 1500000)::bytea);
SELECT lo_put(lo_create(424242), 5000000, 'far out');
SELECT lo_put(lo_from_bytea(424243, 'short'), 100000, 'and far');
SELECT lo_create(424244);
COMMENT ON LARGE OBJECT 424242 IS 'sparse';

ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
CREATE PUBLICATION news FOR TABLE thing (id, name) WHERE (id > 5);
GRANT SELECT ON wide TO PUBLIC;
REVOKE UPDATE ON wide FROM CURRENT_USER;
REVOKE ALL ON measured_rest FROM CURRENT_USER;
REVOKE ALL ON SEQUENCE used FROM CURRENT_USER;
REVOKE ALL ON LARGE OBJECT 424244 FROM CURRENT_USER;
CREATE SCHEMA shut;
CREATE TABLE shut.inside AS SELECT 1 AS n;
REVOKE ALL ON SCHEMA shut FROM CURRENT_USER;
"""
"""What its first login runs, who acts as the owner."""


def between_logins(tenant: TenantSpec) -> str:
    """What two logins of it have of their own. `{me}` acts as itself here."""
    me, other = (login.role for login in tenant.logins)
    return f"""
    SET ROLE NONE;
    CREATE TABLE mine (n integer, m integer);
    INSERT INTO mine VALUES (1, 2), (3, 4);
    GRANT SELECT, UPDATE (m) ON mine TO {other} WITH GRANT OPTION;
    CREATE SEQUENCE my_sequence;
    CREATE FUNCTION my_function() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1';
    SELECT lo_create(424245);
    GRANT SELECT ON LARGE OBJECT 424245 TO {other};
    ALTER DEFAULT PRIVILEGES FOR ROLE {me} IN SCHEMA public GRANT INSERT ON TABLES TO {other};
    ALTER ROLE {me} SET search_path = "Odd Schema", public, "$user";
    ALTER ROLE {me} IN DATABASE {tenant.name} SET work_mem = '5MB';
    SET ROLE {tenant.owner_role};
    GRANT USAGE ON SCHEMA "Odd Schema" TO {other};
    ALTER DATABASE {tenant.name} SET search_path = public, "Odd Schema";
    ALTER DATABASE {tenant.name} SET timezone = 'Asia/Tokyo';
    ALTER DATABASE {tenant.name} SET default_transaction_read_only = on;
    ALTER DATABASE {tenant.name} SET statement_timeout = '1ms';
    ALTER DATABASE {tenant.name} SET transaction_timeout = '1ms';
    ALTER DATABASE {tenant.name} SET idle_session_timeout = '1ms';
    ALTER DATABASE {tenant.name} SET idle_in_transaction_session_timeout = '1ms';
    ALTER DATABASE {tenant.name} SET lock_timeout = '1ms';
    ALTER DATABASE {tenant.name} SET default_transaction_isolation = 'serializable';
    ALTER DATABASE {tenant.name} SET default_transaction_deferrable = on;
    ALTER DATABASE {tenant.name} SET quote_all_identifiers = on;
    ALTER DATABASE {tenant.name} SET array_nulls = off;
    ALTER DATABASE {tenant.name} SET transform_null_equals = on;
    ALTER DATABASE {tenant.name} SET client_encoding = 'LATIN1';
    ALTER DATABASE {tenant.name} SET role = '{other}';
    ALTER DATABASE {tenant.name} SET bytea_output = 'escape';
    COMMENT ON DATABASE {tenant.name} IS 'all of it';
    GRANT CREATE ON DATABASE {tenant.name} TO {other};
    """
