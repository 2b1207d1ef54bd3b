"""A place on shared storage says itself whose it is, and only then is it ours to remove."""

import shutil
from pathlib import Path
from uuid import uuid4

from database_service.domain.ids import ServerId
from database_service.provisioners.swarm.storage import StoragePlace, places_in


def test_only_a_place_that_says_its_own_id_is_labelled(tmp_path: Path) -> None:
    made, copied, bare = (StoragePlace(tmp_path, ServerId(uuid4())) for _ in range(3))
    made.make()
    shutil.copytree(made.directory, copied.directory)
    bare.directory.mkdir()
    assert len(list(places_in(tmp_path))) == 3
    assert [place.is_labelled() for place in (made, copied, bare)] == [True, False, False]
