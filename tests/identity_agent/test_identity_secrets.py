"""A box's key is in no error, however the child that made it ended."""

import pytest

from circinus.errors import Internal
from edge_agent.child import Finished
from edge_agent.identity import keys

_ANSWER = '{"key": "-----BEGIN PRIVATE KEY-----\\nMIGHAgEA", "csr": "AA=="}'


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Finished(returncode=-9, output=f"{_ANSWER}\n"), "ended with -9"),
        (Finished(returncode=1, output=f"{_ANSWER}\nMemoryError\n"), "MemoryError"),
        (Finished(returncode=0, output=_ANSWER[:-9]), "never says"),
        (Finished(returncode=0, output=f"{_ANSWER}\na warning\n"), "never says"),
    ],
)
async def test_a_child_that_ends_badly_after_its_answer_gives_no_key_away(monkeypatch, ended, said):
    async def ends(*_arguments, **_options):
        return ended

    monkeypatch.setattr(keys, "run_child", ends)
    with pytest.raises(Internal, match=said) as error:
        await keys.make_key("box-1")
    assert "PRIVATE" not in str(error.value)
    assert "MIGH" not in repr(error.value)
