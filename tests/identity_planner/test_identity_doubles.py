import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus import errors
from circinus.bundle import extract
from circinus.errors import CircinusError
from circinus.model.device import DeviceId
from circinus.v1 import control_pb2
from cloud_planner.doubles import CLEAR_S, Doubles, Hello
from cloud_planner.refusals import bundle_class, verdict_class

BOX = DeviceId("box-1")


def hellos(doubles, *said, live=True, each_s=1.0):
    return [doubles.hello(BOX, process_id, number * each_s, live=live) for number, process_id in enumerate(said)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.booleans())
def test_one_box_that_starts_again_is_never_taken_for_two(repeats, live):
    # Each start has a fresh id; a link may break several times in each, as often as it takes to be found out.
    said = [f"process-{number}" for number, times in enumerate(repeats) for _ in range(times)]
    doubles = Doubles()
    assert set(hellos(doubles, *said, live=live, each_s=28.0)) == {Hello.FINE}
    assert not doubles.is_doubled(BOX)


@settings(deadline=None)
@given(st.permutations(["a", "b", "c"]), st.integers(2, 4))
def test_boxes_that_take_turns_are_found(names, boxes):
    doubles = Doubles()
    said = (names[:2] if boxes == 2 else names) * 2
    found = hellos(doubles, *said)
    assert Hello.SUSPECT in found


def test_a_suspect_that_speaks_is_a_second_box():
    doubles = Doubles()
    assert hellos(doubles, "a", "b", "a") == [Hello.FINE, Hello.FINE, Hello.SUSPECT]
    assert not doubles.is_doubled(BOX)
    assert doubles.spoke(BOX, "a", 3.0, live=True) is Hello.REFUSED
    assert doubles.is_doubled(BOX)
    # The one that is connected may redial, the other stays out.
    assert doubles.hello(BOX, "b", 4.0, live=True) is Hello.FINE
    assert doubles.hello(BOX, "a", 5.0, live=True) is Hello.REFUSED
    # When the one is gone, the other may come in: somebody must be heard of.
    assert doubles.hello(BOX, "a", 6.0, live=False) is Hello.FINE
    assert doubles.hello(BOX, "b", 7.0, live=True) is Hello.REFUSED


def test_it_is_over_when_only_one_was_seen_for_long_enough():
    doubles = Doubles()
    hellos(doubles, "a", "b", "a")
    doubles.spoke(BOX, "a", 3.0, live=True)
    doubles.hello(BOX, "a", 100.0, live=True)
    assert doubles.over(100.0 + CLEAR_S - 1.0) == ()
    assert doubles.over(100.0 + CLEAR_S) == (BOX,)
    assert not doubles.is_doubled(BOX)
    assert doubles.over(100.0 + CLEAR_S) == ()


def test_copies_of_one_process_that_take_each_others_place_are_found():
    doubles = Doubles()
    hellos(doubles, "a", "a", "a", live=True)
    assert not doubles.is_doubled(BOX)
    hellos(doubles, "a", "a", live=True)
    assert doubles.is_doubled(BOX)


def test_a_link_that_breaks_often_is_no_second_box():
    doubles = Doubles()
    hellos(doubles, *["a"] * 50, live=False, each_s=0.1)
    hellos(doubles, *["a"] * 50, live=True, each_s=28.0)
    assert not doubles.is_doubled(BOX)


def test_what_was_doubled_before_a_restart_still_is():
    doubles = Doubles()
    doubles.restore(BOX, 0.0)
    assert doubles.hello(BOX, "a", 1.0, live=False) is Hello.FINE
    assert doubles.is_doubled(BOX)
    assert doubles.hello(BOX, "b", 2.0, live=True) is Hello.REFUSED
    doubles.forget(BOX)
    assert not doubles.is_doubled(BOX)


def test_agents_without_process_ids_tell_nothing():
    doubles = Doubles()
    assert set(hellos(doubles, *["", "a"] * 10)) == {Hello.FINE}


@pytest.mark.parametrize(
    ("verdict", "name"),
    [
        ("STALE_GENERATION", "StaleGeneration"),
        ("CONFLICTING_DIRECTIVE", "ConflictingDirective"),
        ("BAD_DIGEST", "BadDigest"),
        ("WRONG_DEVICE", "WrongDevice"),
        ("NOT_RUNNABLE", "NotRunnable"),
        ("UNSIGNED", "Unsigned"),
        ("FORGED", "Forged"),
        ("AGAINST_POLICY", "AgainstPolicy"),
    ],
)
def test_a_verdict_is_the_name_of_an_error(verdict, name):

    value = control_pb2.DirectiveVerdict.Value(f"DIRECTIVE_VERDICT_{verdict}")
    assert verdict_class(value) == name
    assert issubclass(getattr(errors, name), CircinusError)


def bundle(*names, link=False):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member, io.BytesIO(b""))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        bundle("../evil"),
        bundle("/etc/evil"),
        bundle("link", link=True),
        bundle("a", "a"),
        bundle("a", "a/b"),
        bundle(),
        b"nonsense" * 2000,
        bundle("a")[:600],
    ],
)
def test_what_a_bundle_is_refused_with_is_known_by_its_words(data, tmp_path):
    with pytest.raises(CircinusError) as error:
        extract(data, tmp_path / "out")
    assert bundle_class(f"{error.value}") == type(error.value).__name__


def test_other_reasons_are_no_refusals_of_bundles():
    said = f"3 bytes came for blob sha256:{'0' * 64}, but their digest is sha256:{'1' * 64}: send it again"
    assert bundle_class(said) == "BadDigest"
    for reason in ("", "install: apt-get install tesseract-ocr", "out of memory", "the bundle can't be fetched now"):
        assert bundle_class(reason) == ""
