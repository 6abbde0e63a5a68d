"""Conflicts: why an item cannot come in beside what is there, what it lacks, and which items exclude each other."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from msgspec import Struct

from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.integration.plan import CODE, Action, Conflict, ConflictCode
from aetherra.plugins.self_incorporation.integration.registrations import Registration, module_of
from aetherra.plugins.self_incorporation.integration.world import Distribution, World

__all__ = ["Offer", "among", "lacking", "with_world"]

API_NAME = "aetherra-api"
DEEPEST = 20
_CODES: dict[str, ConflictCode] = {
    "name": "duplicate_name",
    "module": "namespace_collision",
    "tag": "duplicate_tag",
    "service": "duplicate_service",
}


class Offer(Struct, frozen=True):
    """An item that may come in: what would be done with it, and what it would be registered as."""

    item: Item
    action: Action
    name: str

    @property
    def is_code(self) -> bool:
        """Whether its files are copied, and imported by the name of its file or folder."""
        return self.action in CODE

    @property
    def module(self) -> str:
        """The top-level module that it is imported as; ``""`` if it is no code."""
        return module_of(self.item.path) if self.is_code else ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The plugins it needs, without the plugin API."""
        return tuple(need for need in self.item.requires if _name(need) != API_NAME)


def _name(requirement: str) -> str:
    return re.split(r"[=<>!~ ]", requirement, maxsplit=1)[0]


def with_world(offer: Offer, world: World) -> Iterator[Conflict]:
    """Yield what stands between an item and what is there."""
    item, before = offer.item, world.registered.get(offer.name)
    yield from _of_name(offer, world, before)
    for name, plugin in world.plugins.items():
        if name == offer.name:
            continue  # it is replaced, or told by its name
        for tag in sorted({*item.handles} & {*plugin.tags}):
            yield Conflict("duplicate_tag", item.path, tag, f"plugin {name!r} answers {tag!r} already")
        if item.service and item.service == plugin.service:
            yield Conflict(
                "duplicate_service", item.path, item.service, f"plugin {name!r} provides service {item.service!r}"
            )
    yield from _of_module(offer, world)
    yield from _of_python(item, world)
    for path, problem in item.unreadable.items():
        text = f"{path!r} does not tell what it needs: {problem}; mend that file"
        yield Conflict("metadata_unreadable", item.path, path, text)
    for dependency in item.dependencies:
        for problem in _missing(dependency, world):
            yield Conflict("dependency_conflict", item.path, dependency, f"{_where(item, dependency)}{problem}")


def _of_name(offer: Offer, world: World, before: Registration | None) -> Iterator[Conflict]:
    item = offer.item
    if before is None:
        if offer.action == "load_plugin" and offer.name in world.plugins:
            source = world.plugins[offer.name].source
            problem = f"there is a plugin {offer.name!r} from {source}, which was not integrated"
            yield Conflict("duplicate_name", item.path, offer.name, f"{problem}; rename one of them")
        return
    origin = f"{item.root}/{item.path}"
    if before.action != offer.action:
        problem = f"{offer.name!r} is registered by {before.action}, from {before.origin}; roll that back first"
        yield Conflict("duplicate_name", item.path, offer.name, problem)
    elif not _is_newer(item.version, before.version):
        if before.version and item.version != before.version:
            found = f"version {item.version}" if item.version else "no version at all"
            problem = (
                f"{offer.name!r} came in from {before.origin} as version {before.version}; "
                f"expected that or a later one, and this is {found}"
            )
            yield Conflict("version_conflict", item.path, offer.name, problem)
        elif before.origin != origin:
            problem = f"{offer.name!r} came in from {before.origin}; from elsewhere only a later version may"
            yield Conflict("duplicate_name", item.path, offer.name, problem)


def _is_newer(version: str, before: str) -> bool:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415  # for who plans alone

    try:
        return Version(version) > Version(before)
    except InvalidVersion:
        return False


def _of_module(offer: Offer, world: World) -> Iterator[Conflict]:
    from packaging.utils import canonicalize_name  # noqa: PLC0415  # for who plans alone

    module, path = offer.module, offer.item.path
    if not module:
        return
    if not module.isidentifier():
        problem = f"{module!r} is no name that can be imported; rename its file or folder"
        yield Conflict("namespace_collision", path, module, problem)
    elif hidden := world.is_taken(module):
        told, remedy = hidden, "rename it"
        if (there := world.distributions.get(canonicalize_name(hidden))) is not None:
            told, remedy = f"{hidden} {there.version}, which is installed,", "use that one, or rename this"
        problem = f"a module {module!r} would hide that of {told} from all that stand beside it; {remedy}"
        yield Conflict("namespace_collision", path, module, problem)
    for name, registered in world.registered.items():
        if name != offer.name and registered.module == module:
            problem = f"{name!r} is registered with a module {module!r}, from {registered.origin}; rename one of them"
            yield Conflict("namespace_collision", path, module, problem)


def _of_python(item: Item, world: World) -> Iterator[Conflict]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415  # for who plans alone

    if not item.requires_python:
        return
    try:
        fits = SpecifierSet(item.requires_python).contains(world.python, prereleases=True)
        problem = f"it needs Python {item.requires_python}, this is {world.python}; run the host on such a one"
    except InvalidSpecifier:
        fits, problem = False, f"requires-python {item.requires_python!r} is no version specifier (PEP 440); mend it"
    if not fits:
        where = _where(item, item.requires_python)
        yield Conflict("version_conflict", item.path, "python", f"{where}{problem}")


def _where(item: Item, requirement: str) -> str:
    return f"{item.said_in[requirement]!r}: " if requirement in item.said_in else ""


def _missing(text: str, world: World, extra: str = "", depth: int = 0) -> Iterator[str]:
    """Yield what is wrong with one requirement, and with those of the extras that it asks for."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName  # noqa: PLC0415  # for who plans alone
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    try:
        wanted = Requirement(text)
        applies = wanted.marker is None or wanted.marker.evaluate({**world.environment, "extra": extra})
    except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as exc:
        yield f"{text!r} is no requirement (PEP 508): {str(exc).splitlines()[0]}; mend it"
        return
    if not applies:
        return
    found: Distribution | None = world.distributions.get(canonicalize_name(wanted.name))
    if wanted.url:
        yield f"it needs {wanted.name!r} from {wanted.url}, which cannot be checked; name a version"
    elif found is None:
        yield f"it needs {str(wanted)!r}, which is not installed; install it, and start the host again"
    elif not wanted.specifier.contains(found.version, prereleases=True):
        yield f"it needs {str(wanted)!r}, and {wanted.name} {found.version} is installed; install one that fits"
    elif depth < DEEPEST:
        for asked in wanted.extras:
            for need in found.needs:
                if _is_of_extra(need):
                    yield from _missing(need, world, asked, depth + 1)


def _is_of_extra(requirement: str) -> bool:
    return "extra" in requirement.partition(";")[2]


def among(offers: Sequence[Offer]) -> Iterator[tuple[Offer, Conflict]]:
    """Yield what stands between items that would come in together: none of them is meant less, so each has its own."""
    yield from _shared(offers, "name", lambda offer: [offer.name])
    yield from _shared(offers, "module", lambda offer: [offer.module] if offer.module else [])
    yield from _shared(offers, "tag", lambda offer: offer.item.handles)
    yield from _shared(offers, "service", lambda offer: [offer.item.service] if offer.item.service else [])


def _shared(
    offers: Sequence[Offer], what: str, of: Callable[[Offer], Iterable[str]]
) -> Iterator[tuple[Offer, Conflict]]:
    holders: defaultdict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        for value in of(offer):
            holders[value].append(offer)
    for value, sharing in sorted(holders.items()):
        for offer in sharing if len(sharing) > 1 else ():
            others = ", ".join(repr(other.item.path) for other in sharing if other is not offer)
            problem = f"{what} {value!r} is that of {others}, too; leave one of them out, or rename it"
            yield offer, Conflict(_CODES[what], offer.item.path, value, problem)


def lacking(offer: Offer, missing_grants: Collection[str], names: Collection[str], world: World) -> Iterator[Conflict]:
    """Yield what an item needs and does not get.

    Args:
        offer: The item.
        missing_grants: What it would have to be granted.
        names: The plugins that come in with it.
        world: What is there.
    """
    for grant in sorted(missing_grants):
        section = f'"plugins": {{"{offer.item.name}": {{"source": "later", "grants": ["{grant}"]}}}}'
        problem = f"it needs {grant!r}; grant it by {section}, and start the host again"
        yield Conflict("missing_capability", offer.item.path, grant, problem)
    services = {plugin.service for plugin in world.plugins.values()}
    for need in offer.needs:
        if need not in world.plugins and need not in names and need not in services:
            yield Conflict("missing_plugin", offer.item.path, need, f"it requires plugin {need!r}, which is not there")
