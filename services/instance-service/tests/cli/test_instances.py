"""Commands about instances: what they refuse before anybody is asked."""

import pytest

from instance_service.cli.exits import Exit
from instance_service.cli.root import main


@pytest.mark.parametrize("words", [["show", "nope"], ["events", "nope"], ["delete", "nope"], ["stop", "nope"]])
def test_who_names_an_instance_otherwise_is_told_what_is_not_found_and_where_ids_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == Exit.NOT_FOUND
    said = capsys.readouterr().err
    assert "There is no instance 'nope'" in said
    assert "instances list" in said
