"""`dbs backup-control-plane`, `restore-control-plane` and `rebuild`: the control plane comes back.

They work on its own database, not through the API: what they are for is that there is no API.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as version_of
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from database_service.cli.exits import CommandFailed, Exit
from database_service.cli.session import Json, err, out, session, show_json
from database_service.domain.backups import BackupUnusable, Manifest
from database_service.observability.logging import configure_logging
from database_service.secretbox import SecretBox
from database_service.settings import Settings

if TYPE_CHECKING:
    from database_service.actions.back_up import Source
    from database_service.actions.rebuild import Report
    from database_service.cli.embedded import Embedded

STREAM = "-"


def backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="Where to; `-` writes to standard output.", metavar="FILE")],
) -> None:
    """Write all that the control plane knows into one file, while it runs. Secrets in it stay sealed: keep the key ring apart."""
    from database_service.actions.back_up import Source  # noqa: PLC0415  only who recovers pays for what it needs
    from database_service.provisioners.runtime import client_programs  # noqa: PLC0415

    with _plainly(), _own_database(session(context).settings, alone=False) as settings:
        source = Source(
            dsn=settings.database_dsn(),
            secrets=SecretBox.from_ring(settings.key_ring()),
            settings=settings.as_environment(),
            program=version_of("database-service"),
            bin_dir=client_programs(settings.postgres_bin_dir),
        )
        manifest = _written(source, file)
        _noted(source, manifest)
    err.print(f"Backed up {_in_words(manifest)}.", highlight=False, soft_wrap=True)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.", metavar="FILE")],
    replace: Annotated[
        str | None,
        typer.Option(
            help="Replace what is in the database of this name; without it, only an empty one is taken.", metavar="NAME"
        ),
    ] = None,
) -> None:
    """Bring the control plane back from a backup, all of it or nothing. Stop API and worker first; then run `dbs rebuild`."""
    from database_service.actions.restore import Target  # noqa: PLC0415  as above
    from database_service.actions.restore import restore as bring_back  # noqa: PLC0415
    from database_service.provisioners.runtime import client_programs  # noqa: PLC0415
    from database_service.wiring import utc_now  # noqa: PLC0415

    with _plainly(), _own_database(session(context).settings, alone=True) as settings:
        ring = SecretBox.from_ring(settings.key_ring()).fingerprints()
        target = Target(settings.database_dsn(), ring, client_programs(settings.postgres_bin_dir), replace)
        manifest = asyncio.run(bring_back(file, target, utc_now()))
    out.print(f"Restored {_in_words(manifest)}.", highlight=False, soft_wrap=True)
    out.print("Nothing is handed out or deleted on its servers before `dbs rebuild --from-world` has looked at them.")


def rebuild(
    context: typer.Context,
    from_world: Annotated[
        bool, typer.Option("--from-world", help="From what there is: servers, and what each keeps of its databases.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it, it is only told.")] = False,
    logins: Annotated[
        Path | None,
        typer.Option(
            help="A file with postgresql://user:password@host:port for each server whose administrator's password is known "
            "nowhere else: those that were adopted.",
            metavar="FILE",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make rows again from what exists, after a restore or where there is no backup. Stop API and worker first."""
    if not from_world:
        raise CommandFailed("Rows can be rebuilt only from what exists: say --from-world.", Exit.USAGE)
    configure_logging(level="ERROR", look="console")  # what steps say on their way is in the report
    with _plainly(), _own_database(session(context).settings, alone=True) as settings:
        report = asyncio.run(_rebuilt(settings, _text_of(logins), apply=apply))
    done, left = report.sentences()
    if as_json:
        show_json({"applied": apply, "done": done, "left_alone": left})
        return
    _show("Done" if apply else "To be done", done)
    _show("Left alone", left)
    if done and not apply:
        err.print("Nothing was changed. To do it: --apply.", highlight=False)


def register(app: typer.Typer) -> None:
    """Hang the commands into the root."""
    panel = "Recover it"
    app.command("backup-control-plane", rich_help_panel=panel)(backup)
    app.command("restore-control-plane", rich_help_panel=panel)(restore)
    app.command("rebuild", rich_help_panel=panel)(rebuild)


@contextmanager
def _own_database(settings: Settings, *, alone: bool) -> Iterator[Settings]:
    """Settings with which the control plane's own database is reached. That of `dbs up` is started where it does not run."""
    from database_service.cli.home import embedded_settings, only_one  # noqa: PLC0415  as above

    found = embedded_settings(settings)
    if found is settings or (not alone and _is_up(settings.data_dir)):
        yield found
        return
    with only_one(settings.data_dir), _embedded(settings).control_database():
        yield found


def _embedded(settings: Settings) -> "Embedded":
    from database_service.cli.embedded import Embedded  # noqa: PLC0415  what it needs is in no image
    from database_service.cli.home import Home  # noqa: PLC0415
    from database_service.provisioners.runtime import PostgresRuntime  # noqa: PLC0415

    runtime = PostgresRuntime.find(settings.postgres_bin_dir)
    return Embedded.at(Home.make(settings.data_dir, runtime), runtime, settings)


def _is_up(data_dir: Path) -> bool:
    from database_service.cli.home import only_one  # noqa: PLC0415  as above

    try:
        with only_one(data_dir):
            return False
    except CommandFailed:
        return True


@contextmanager
def _plainly() -> Iterator[None]:
    """What cannot be done, in one sentence."""
    try:
        yield
    except BackupUnusable as e:
        raise CommandFailed(str(e), Exit.REFUSED) from e
    except OSError as e:
        if e.filename is None:
            raise
        raise CommandFailed(f"{e.filename}: {e.strerror}.") from e


def _written(source: "Source", file: str) -> Manifest:
    from database_service.actions.back_up import back_up  # noqa: PLC0415  as above
    from database_service.files import whole_file  # noqa: PLC0415
    from database_service.wiring import utc_now  # noqa: PLC0415

    def write(into: IO[bytes]) -> Manifest:
        return asyncio.run(back_up(source, into, utc_now()))

    if file == STREAM:
        manifest = write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return manifest
    with whole_file(Path(file).absolute()) as into:
        return write(into)


def _noted(source: "Source", manifest: Manifest) -> None:
    """The backup is whole also where that cannot be noted."""
    from database_service.actions.back_up import note  # noqa: PLC0415  as above

    if not asyncio.run(note(source, manifest)):
        err.print("It could not be noted: the hub will tell that there is no backup.", highlight=False, soft_wrap=True)


async def _rebuilt(settings: Settings, keys: str, *, apply: bool) -> "Report":
    from database_service.actions import rebuild as action  # noqa: PLC0415  as above
    from database_service.broker.nudge import Silent  # noqa: PLC0415
    from database_service.store.backups import room  # noqa: PLC0415
    from database_service.store.migrate import migrate  # noqa: PLC0415
    from database_service.wiring import open_deps  # noqa: PLC0415

    dsn = settings.database_dsn()
    if (await room(dsn)).company:
        raise BackupUnusable("Others are connected to the control plane's database: stop API and worker first.")
    await migrate(dsn)  # where all is lost there is not even a schema
    async with open_deps(settings, nudge=Silent(), application="dbs rebuild") as deps:
        work = action.rebuild if apply else action.look
        return await work(deps, action.keys_in(keys))


def _text_of(path: Path | None) -> str:
    return path.read_text() if path else ""


def _in_words(manifest: Manifest) -> str:
    rows = manifest.rows
    return (
        f"{rows.get('servers', 0)} servers and {rows.get('databases', 0)} databases as of "
        f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC, schema {manifest.revision}, sealed with {', '.join(manifest.keys) or 'no key'}"
    )


def _show(title: str, sentences: Sequence[str]) -> None:
    out.print(f"{title}:" if sentences else f"{title}: nothing", highlight=False)
    for sentence in sentences:
        out.print(f"  • {sentence}", markup=False, highlight=False, soft_wrap=True)
