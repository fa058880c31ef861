import pytest
from live_values import BUNDLE, CONTENT, pipeline, profile

from circinus.model.profile import ProfileTable
from cloud_planner.core.believed_times import believed_times, relative_error

SPEC = pipeline()
FAST, SLOW = {"cut.length": 1, "read.fast": True}, {"cut.length": 1, "read.fast": False}
LONG_FAST, LONG_SLOW = {"cut.length": 2, "read.fast": True}, {"cut.length": 2, "read.fast": False}
SPEEDS = {"box": 1.0, "cam": 0.25}
MIB = 2**20


def table(**times):
    return ProfileTable(bundle_digest=BUNDLE, content_digest=CONTENT, scores={}, times=times)


def timed(configuration, *, samples=4, **times_ms):
    """A configuration whose operators take these times on each of some samples."""
    return profile(configuration, dict.fromkeys(range(samples), (None, times_ms)))


def believed(own, *others, speeds=None):
    return believed_times(SPEC, tuple(SPEC.configurations()), own, others, speeds or SPEEDS)


def service(found, device_class, operator_id, configuration):
    return found[device_class].service(SPEC, operator_id, configuration)


def test_a_measurement_of_the_class_itself_stands():
    own = table(box=(timed(FAST, cut=10.0, read=50.0),), cam=(timed(FAST, cut=70.0, read=90.0),))
    other = table(cam=(timed(FAST, cut=1.0, read=1.0),))
    found = service(believed(own, other), "cam", "cut", FAST)
    assert (found.mean_ms, found.error_ratio, found.believed, found.samples) == (70.0, 0.0, False, 4)


def test_a_class_that_was_not_measured_is_scaled_by_its_calibrated_speed():
    found = believed(table(box=(timed(FAST, cut=10.0, read=50.0),)))
    assert service(found, "cam", "cut", FAST).mean_ms == pytest.approx(40.0)
    assert service(found, "cam", "read", FAST).mean_ms == pytest.approx(200.0)
    assert service(found, "cam", "read", FAST).believed


def test_the_ratio_of_the_same_operator_goes_before_that_of_others_and_before_calibration():
    both = timed(FAST, cut=10.0, read=50.0), timed(SLOW, cut=10.0, read=80.0)
    # Reading in one way took ten times as long on the camera, cutting three times.
    same = believed(table(box=both, cam=(timed(FAST, cut=30.0, read=500.0),)))
    assert service(same, "cam", "read", SLOW).mean_ms == pytest.approx(800.0)
    # Of reading nothing is known there: as many times as cutting.
    any_ = believed(table(box=both, cam=(timed(FAST, cut=30.0),)))
    assert service(any_, "cam", "read", SLOW).mean_ms == pytest.approx(240.0)
    calibrated = believed(table(box=both))
    errors = [service(found, "cam", "read", SLOW).error_ratio for found in (same, any_, calibrated)]
    assert 0.0 < errors[0] < errors[1] < errors[2]


def test_what_another_content_took_stands_in_and_is_less_sure():
    own = table(box=(timed(FAST, cut=10.0, read=50.0),))
    other = table(box=(timed(SLOW, cut=12.0, read=95.0),))
    found = believed(own, other)
    there = service(found, "box", "read", SLOW)
    assert (there.mean_ms, there.believed) == (95.0, True)
    # Own content first, whatever the class.
    assert service(found, "box", "cut", SLOW).mean_ms == 10.0
    # Another class of another content adds both doubts.
    assert service(found, "cam", "read", SLOW).error_ratio > there.error_ratio > 0.0


def test_another_class_on_the_own_content_goes_before_the_class_on_another_content():
    own = table(box=(timed(FAST, cut=10.0, read=50.0),))
    other = table(cam=(timed(FAST, cut=11.0, read=7.0),))
    assert service(believed(own, other), "cam", "read", FAST).mean_ms == pytest.approx(200.0)


def test_what_was_measured_nowhere_comes_from_like_knobs_and_is_least_sure():
    own = table(box=(timed(FAST, cut=10.0, read=10.0), timed(SLOW, cut=10.0, read=1000.0), timed(LONG_FAST, cut=20.0)))
    guessed = service(believed(own), "box", "read", LONG_SLOW), service(believed(own), "box", "read", LONG_FAST)
    assert all(one.believed for one in guessed)
    # Reading slowly takes longer with the other length, too.
    assert guessed[0].mean_ms > 3.0 * guessed[1].mean_ms
    other = table(box=(timed(LONG_SLOW, cut=20.0, read=900.0),))
    assert guessed[0].error_ratio > service(believed(own, other), "box", "read", LONG_SLOW).error_ratio


def test_every_class_and_configuration_has_every_operator():
    found = believed(table(box=(timed(FAST, cut=10.0, read=50.0),)))
    assert set(found) == {"box", "cam"}
    for device_class in found:
        for configuration in SPEC.configurations():
            for operator in SPEC.operators:
                one = service(found, device_class, operator.id, configuration)
                assert one.mean_ms > 0.0
                assert one.believed == (
                    (device_class, configuration["cut.length"]) != ("box", 1)
                    or (operator.id == "read" and not configuration["read.fast"])
                )


def test_memory_goes_by_an_operators_own_knobs():
    measured = profile(FAST, {0: (None, {"cut": 10.0, "read": 50.0})}, memory_bytes={"cut": 10 * MIB, "read": 99 * MIB})
    found = believed(table(box=(measured,)))
    # Reading fast takes as much behind the other cut, and on the other class.
    assert service(found, "cam", "read", LONG_FAST).memory_bytes == 99 * MIB
    assert service(found, "box", "cut", SLOW).memory_bytes == 10 * MIB
    # With other knobs of its own nobody knows.
    assert service(found, "box", "read", SLOW).memory_bytes == 0
    assert service(found, "box", "cut", LONG_FAST).memory_bytes == 0


def test_nothing_is_believed_where_an_operator_was_measured_nowhere():
    assert believed(None) == {}
    assert believed(table()) == {}
    assert believed(table(box=(timed(FAST, cut=10.0),))) == {}
    assert believed(table(box=(timed(FAST, cut=10.0),)), table(cam=(timed(FAST, read=10.0),))) != {}


def test_sizes_of_the_sources_items_are_the_contents_own_if_they_are_known():
    own = profile(FAST, {0: (None, {"cut": 10.0, "read": 50.0})}, source_bytes=300)
    other = profile(FAST, {0: (None, {"cut": 10.0, "read": 50.0})}, source_bytes=7000)
    assert {one.source_bytes for one in believed(table(box=(own,)), table(box=(other,))).values()} == {300.0}
    assert {one.source_bytes for one in believed(None, table(box=(other,))).values()} == {7000.0}


def test_the_error_of_a_time_is_that_of_its_samples_and_of_where_it_comes_from():
    even = believed(table(box=(timed(FAST, cut=10.0, read=50.0),)))
    assert relative_error(service(even, "box", "cut", FAST)) == 0.0
    assert relative_error(service(even, "cam", "cut", FAST)) == service(even, "cam", "cut", FAST).error_ratio
    uneven = profile(FAST, {0: (None, {"cut": 10.0, "read": 1.0}), 1: (None, {"cut": 20.0, "read": 1.0})})
    # Variance 50 of two samples, mean 15.
    found = service(believed(table(box=(uneven,))), "box", "cut", FAST)
    assert relative_error(found) == pytest.approx(5.0 / 15.0)
