"""Planning keeps to what the owners of devices allow."""

from dataclasses import replace

from live_values import choices, device, fleet, operator, pipeline, query

from circinus.model.device import Tier
from circinus.model.policy import Policy
from cloud_planner.core.decompose import decompose
from cloud_planner.core.needs import Circumstances, profiling_device


def boxes(**policies):
    """A camera, a gateway beside it and a cloud; each may have a policy of its own."""
    made = (
        device("camera", site="shop", links=["gateway", "cloud"]),
        device("gateway", site="shop", data_address="g:1", links=["cloud"]),
        device("cloud", site="cloud", tier=Tier.CLOUD, data_address="c:1"),
    )
    return [replace(one, policy=policies.get(one.id, one.policy)) for one in made]


def the_problem(*devices, spec=None):
    (found,) = decompose(fleet(*devices, spec=spec, choices={"q": choices(spec)}), [query()]).queries
    return found


def machines(problem):
    return {option.machine for candidate in problem.candidates for step in candidate.steps for option in step.options}


def stays(problem):
    return {(step.operator_id, *step.site_inputs) for step in problem.candidates[0].steps if step.site_inputs}


def test_where_nobody_says_anything_every_device_is_an_option():
    found = the_problem(*boxes())
    assert machines(found) == {"camera", "gateway", "cloud"}
    assert stays(found) == set()


def test_a_device_whose_owner_does_not_allow_the_pipeline_is_none():
    found = the_problem(
        *boxes(cloud=Policy(allowed_pipelines=("others",)), gateway=Policy(allowed_pipelines=("words",)))
    )
    assert machines(found) == {"camera", "gateway"}


def test_a_source_whose_owner_does_not_allow_the_pipeline_makes_its_query_impossible():
    found = the_problem(*boxes(camera=Policy(allowed_pipelines=("others", "more"))))
    assert "the owner of its source device camera allows only others, more" in found.impossible


def test_what_a_source_keeps_stays_at_its_site_at_every_edge():
    found = the_problem(*boxes(camera=Policy(data_stays=("words",))))
    assert stays(found) == {("cut", "source"), ("read", "cut")}
    assert machines(found) == {"camera", "gateway", "cloud"}
    assert stays(the_problem(*boxes(camera=Policy(data_stays=("others",))))) == set()


def test_a_device_that_keeps_items_takes_none_of_another_site():
    found = the_problem(*boxes(cloud=Policy(data_stays=("words",))))
    assert machines(found) == {"camera", "gateway"}
    assert stays(found) == set()
    beside = the_problem(*boxes(gateway=Policy(data_stays=("words",))))
    assert machines(beside) == {"camera", "gateway", "cloud"}
    assert stays(beside) == {("cut", "source"), ("read", "cut")}


def test_what_the_pipeline_says_itself_stands():
    spec = pipeline(operator("cut", ["source"], site_inputs=("source",)), operator("read", ["cut"]))
    assert stays(the_problem(*boxes(), spec=spec)) == {("cut", "source")}


def test_nothing_is_profiled_where_it_may_not_run():
    policy = Policy(allowed_pipelines=("others",))
    devices = boxes(cloud=policy, gateway=policy)
    here = Circumstances(connected=frozenset(one.id for one in devices), failures={}, policy=None)
    found = profiling_device(fleet(*devices, choices={"q": choices()}), query(), here)
    assert found is not None
    assert found.id == "camera"
