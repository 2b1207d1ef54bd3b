"""A place on shared storage says itself whose it is, and only then is it ours to remove."""

import shutil
from pathlib import Path
from uuid import uuid4

from database_service.domain.ids import ServerId
from database_service.provisioners.swarm.storage import StoragePlace, places_in

OURS, ANOTHER = "ours", "another"


def a_place(root: Path, plane: str = OURS) -> StoragePlace:
    return StoragePlace(root, plane, ServerId(uuid4()))


def test_only_a_place_that_says_its_own_id_and_our_name_is_labelled(tmp_path: Path) -> None:
    made, copied, nameless = a_place(tmp_path), a_place(tmp_path), a_place(tmp_path)
    made.make()
    shutil.copytree(made.directory, copied.directory)
    (nameless.directory / "pgdata").mkdir(parents=True)
    a_place(tmp_path, ANOTHER).make()
    found = {place.id: place.is_labelled() for place in places_in(tmp_path, OURS)}
    assert len(found) == 4
    assert [place_id for place_id, labelled in found.items() if labelled] == [made.id]


def test_what_says_whose_it_is_goes_last_and_what_a_removal_left_is_still_ours(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    place.make()
    (place.directory / "postgres.lock").touch()
    (place.directory / ".server.id-x7k2").touch()
    assert not place.has_data()
    place.clear_away()
    assert not place.is_there()
    place.directory.mkdir()
    assert place.is_labelled()
