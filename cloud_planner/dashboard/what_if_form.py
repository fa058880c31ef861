"""The what-if page's sliders: where they stand for a query, and what they say is different. PURE.

A slider that stands where things are says nothing. All of it goes in an address, so that what was asked can be sent on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from urllib.parse import urlencode

from circinus.errors import InvalidInput
from circinus.model.device import Device, Tier
from circinus.model.query import Query
from circinus.model.what_if import (
    AddDevices,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
    WhatIf,
)

#: Sliders go this far from where things are, in factors.
_RATE_RATIO, _LATENCY_RATIO, _WEIGHT_RATIO, _PRICE_RATIO = 4.0, 4.0, 10.0, 5.0
#: More devices of a class that can be asked about at once.
MOST_DEVICES = 5
#: Where a slider stands for a query that has no such bound.
_LATENCY_MS, _ACCURACY_RATIO = 1_000.0, 0.8
_NONE = "none"
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Slider:
    """A slider: its range, where things are, and where it stands. ``bound``: it may be switched off; ``on``: it isn't.

    ``present_on``: whether there is such a bound now.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    step: float
    present: float
    value: float
    bound: bool = False
    on: bool = True
    present_on: bool = True
    help: str = ""

    @property
    def changed(self) -> bool:
        """Whether it says that something is different."""
        if self.on != self.present_on:
            return True
        return self.on and abs(self.value - self.present) > 1e-9 * max(1.0, abs(self.present))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """What one device more or less may be: a class at a site (``name``) with the devices that it has now."""

    name: str
    device_class: str
    site: str
    tier: Tier
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfForm:
    """All sliders of a query.

    ``source``: its source device. ``tier``: whose price is different. ``like``: of what there are more devices, or
    fewer.
    """

    query_id: str
    source: str
    rate: Slider
    latency: Slider
    accuracy: Slider
    weight: Slider
    tier: str
    price: Slider
    like: str
    devices: Slider
    choices: tuple[DeviceChoice, ...]

    @property
    def sliders(self) -> tuple[Slider, ...]:
        """All of them, in order."""
        return (self.rate, self.latency, self.accuracy, self.weight, self.price, self.devices)

    @property
    def changed(self) -> bool:
        """Whether anything is different."""
        return any(slider.changed for slider in self.sliders)


def device_choices(devices: Iterable[Device]) -> tuple[DeviceChoice, ...]:
    """Classes by site, in order of names."""
    found: dict[tuple[str, str], list[Device]] = {}
    for device in sorted(devices, key=lambda one: one.id):
        found.setdefault((device.device_class, device.site), []).append(device)
    return tuple(
        DeviceChoice(
            name=f"{device_class}@{site}",
            device_class=device_class,
            site=site,
            tier=ones[0].tier,
            devices=tuple(one.id for one in ones),
        )
        for (device_class, site), ones in sorted(found.items())
    )


def read_form(
    values: Mapping[str, str], query: Query, devices: Sequence[Device], found_per_s: float | None = None
) -> WhatIfForm:
    """The sliders as an address says they stand; what it does not say stands where things are.

    ``found_per_s``: the rate that the query is planned at, if that isn't the stated one.

    Raises:
        InvalidInput: a figure is none, or a class or tier that is not there is named.
    """
    slo = query.slo
    latency_ms = slo.latency_ms if slo.latency_ms is not None else _LATENCY_MS
    accuracy = slo.accuracy_ratio if slo.accuracy_ratio is not None else _ACCURACY_RATIO
    choices = device_choices(devices)
    names = [choice.name for choice in choices]
    like = values.get("like", "")[:_MAX_TEXT] or (names[0] if names else "")
    if like and like not in names:
        raise InvalidInput(f"there are no devices {like!r}; there are {', '.join(names[:12]) or 'none at all'}")
    tier = values.get("tier", "")[:_MAX_TEXT] or Tier.CLOUD.value
    if tier not in {one.value for one in Tier}:
        raise InvalidInput(f"there is no tier {tier!r}: it is edge or cloud")
    here = next((len(choice.devices) for choice in choices if choice.name == like), 0)
    return WhatIfForm(
        query_id=query.id,
        source=query.source_device_id,
        rate=_rate(values, query, found_per_s),
        latency=_bound(
            values,
            _around({}, "latency", f"p{100 * slo.percentile_ratio:g} latency", "ms", latency_ms, _LATENCY_RATIO),
            slo.latency_ms is not None,
        ),
        accuracy=_bound(
            values,
            Slider(
                name="accuracy",
                label="Accuracy",
                unit="",
                low=0.0,
                high=1.0,
                step=0.005,
                present=accuracy,
                value=accuracy,
            ),
            slo.accuracy_ratio is not None,
        ),
        weight=_around(values, "weight", "Weight", "", query.weight, _WEIGHT_RATIO),
        tier=tier,
        price=_moved(
            values,
            Slider(
                name="price",
                label="Price of the tier",
                unit="times",
                low=0.0,
                high=_PRICE_RATIO,
                step=0.05,
                present=1.0,
                value=1.0,
                help=_price_help(tier, devices),
            ),
        ),
        like=like,
        devices=_moved(
            values,
            Slider(
                name="devices",
                label="Devices more or less",
                unit="",
                low=float(-min(here, MOST_DEVICES)),
                high=float(MOST_DEVICES),
                step=1.0,
                present=0.0,
                value=0.0,
                help=f"there {'is' if here == 1 else 'are'} {here} now" if like else "no device is known",
            ),
        ),
        choices=choices,
    )


def _rate(values: Mapping[str, str], query: Query, found_per_s: float | None) -> Slider:
    if found_per_s is None:
        return _around(values, "rate", "Rate", "items/s", query.rate_per_s, _RATE_RATIO)
    slider = _around(values, "rate", "Rate", "items/s", found_per_s, _RATE_RATIO)
    return replace(slider, help=f"now {found_per_s:.4g} items/s, as found; {query.rate_per_s:g} is stated")


def _price_help(tier: str, devices: Sequence[Device]) -> str:
    prices = [device.price_per_h for device in devices if device.tier.value == tier]
    if not prices:
        return f"no device is in the {tier}"
    if not any(prices):
        return f"{tier} devices cost nothing, so a factor changes nothing"
    low, high = min(prices), max(prices)
    return f"{low:g} per hour" if low == high else f"{low:g} to {high:g} per hour"


def _around(values: Mapping[str, str], name: str, label: str, unit: str, present: float, ratio: float) -> Slider:
    """A slider from a part of the present figure to a multiple of it, in about 200 even steps."""
    step = _round_step(present * ratio / 200.0)
    slider = Slider(
        name=name,
        label=label,
        unit=unit,
        low=min(step, present),
        high=present * ratio,
        step=step,
        present=present,
        value=present,
    )
    return _moved(values, slider)


def _round_step(step: float) -> float:
    """The step, down to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** int(f"{step:e}".partition("e")[2])
    return next(float(f"{factor * power:.3g}") for factor in (5.0, 2.0, 1.0) if factor * power <= step * (1.0 + 1e-9))


def _moved(values: Mapping[str, str], slider: Slider) -> Slider:
    """The slider where an address says that it stands."""
    text = values.get(slider.name, "").strip()
    if not text or text == _NONE:
        return slider
    try:
        value = float(text[:_MAX_TEXT])
    except ValueError:
        raise InvalidInput(f"{slider.label.lower()}: {text[:50]!r} is no number") from None
    if not isfinite(value):
        raise InvalidInput(f"{slider.label.lower()}: {text[:50]!r} is no number")
    # A browser moves a slider to the nearest of its steps: that near to the present figure is the present figure.
    if abs(value - slider.present) < slider.step / 2.0:
        value = slider.present
    return replace(slider, value=min(slider.high, max(slider.low, value)))


def _bound(values: Mapping[str, str], slider: Slider, present_on: bool) -> Slider:
    """A slider of a bound, which may be switched off."""
    moved = _moved(values, slider)
    # A box that is not ticked is not sent: whether the form was sent at all is told apart.
    on = values.get(f"{slider.name}_on") == "1" if "asked" in values else present_on
    return replace(moved, bound=True, on=on, present_on=present_on)


def changes_of(form: WhatIfForm, devices: Sequence[Device]) -> tuple[WhatIf, ...]:
    """What the sliders say is different, as `circinus what-if` takes it."""
    found: list[WhatIf] = []
    found += _devices(form)
    if form.rate.changed:
        found.append(SetRate(query=form.query_id, rate_per_s=Figure(value=form.rate.value)))
    if form.weight.changed:
        found.append(SetWeight(query=form.query_id, weight=Figure(value=form.weight.value)))
    if form.price.changed:
        factor = Figure(value=form.price.value, factor=True)
        found += [SetPrice(device=name, price_per_h=factor) for name in _names_of_tier(form.tier, devices)]
    for field, slider in ((SloField.LATENCY_MS, form.latency), (SloField.ACCURACY, form.accuracy)):
        if slider.changed:
            found.append(SetSlo(query=form.query_id, field=field, value=slider.value if slider.on else None))
    return tuple(found)


def _devices(form: WhatIfForm) -> list[WhatIf]:
    count = round(form.devices.value)
    choice = next((one for one in form.choices if one.name == form.like), None)
    if choice is None or not count:
        return []
    if count > 0:
        return [AddDevices(count=count, like=choice.devices[0], site=choice.site)]
    # Without its source the query has no plan, which nobody needs to ask: that one goes last.
    ordered = sorted(choice.devices, key=lambda name: name != form.source)
    return [RemoveDevice(device=name) for name in ordered[count:]]


def _names_of_tier(tier: str, devices: Sequence[Device]) -> list[str]:
    """The devices of a tier: by their classes, where a class is in that tier alone."""
    tiers: dict[str, set[str]] = {}
    for device in devices:
        tiers.setdefault(device.device_class, set()).add(device.tier.value)
    ids = {str(device.id) for device in devices}
    names = []
    for device in sorted(devices, key=lambda one: one.id):
        if device.tier.value == tier:
            by_class = tiers[device.device_class] == {tier} and device.device_class not in ids
            names.append(device.device_class if by_class else device.id)
    return list(dict.fromkeys(names))


def command_of(changes: Sequence[WhatIf]) -> str:
    """The command that asks the same."""
    words = ["circinus what-if"]
    for change in changes:
        match change:
            case AddDevices():
                words.append(f"--add {change.count} {_quoted(f'{change.like}@{change.site}')}")
            case RemoveDevice():
                words.append(f"--remove {_quoted(change.device)}")
            case SetRate():
                words.append(f"--rate {_quoted(change.query)}={change.rate_per_s.value:g}")
            case SetWeight():
                words.append(f"--weight {_quoted(change.query)}={change.weight.value:g}")
            case SetPrice():
                words.append(f"--price {_quoted(change.device)}={change.price_per_h.value:g}x")
            case SetSlo():
                value = _NONE if change.value is None else f"{change.value:g}"
                words.append(f"--slo {_quoted(change.query)}:{change.field.value}={value}")
            case _:
                continue
    return " ".join(words)


def _quoted(text: str) -> str:
    plain = text.replace("-", "").replace("_", "").replace(".", "").replace("@", "").replace("/", "")
    return text if plain.isalnum() else "'" + text.replace("'", "'\\''") + "'"


def address_of(form: WhatIfForm) -> str:
    """The query string that brings the sliders back as they stand."""
    values: dict[str, str] = {"query": form.query_id, "asked": "1"}
    for slider in form.sliders:
        if slider.changed and slider.on:
            values[slider.name] = f"{slider.value:g}"
        if slider.bound and slider.on:
            values[f"{slider.name}_on"] = "1"
    if form.price.changed:
        values["tier"] = form.tier
    if form.devices.changed:
        values["like"] = form.like
    return urlencode(values)
