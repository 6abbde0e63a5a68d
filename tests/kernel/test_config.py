"""The configuration file: what is read, and how each fault is told."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import Config, ConfigError, KernelConfig, LaneConfig
from aetherra.kernel.config import schema
from aetherra.kernel.plugin import Settings


class Zone(Settings):
    name: str
    mode: Literal["heat", "cool"] = "heat"


class GreeterSettings(Settings):
    greeting: str = "Hello"
    zones: list[Zone] = []
    best: Zone | None = None
    rooms: dict[str, Zone | None] = {}
    floors: list[dict[str, list[Zone]]] = []


def write(folder: Path, document: Any) -> Path:
    path = folder / "config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(["enabled", "lanes", "", "ü.$["]), children)


def fault(document: Any) -> str:
    """The error of a document given as builtins, plugin settings included."""
    with pytest.raises(ConfigError) as caught:
        Config.parse(document, where="config.json").plugin_settings("greeter", GreeterSettings)
    return str(caught.value)


class TestFile:
    def test_a_whole_file_is_read_and_its_paths_are_relative_to_it(self, tmp_path: Path) -> None:
        """``data_dir`` and plugin sources stand beside the file, wherever the process was started."""
        path = write(
            tmp_path,
            {
                "profile": "prod",
                "kernel": {"workers": 3, "lanes": {"high": {"capacity": 7, "weight": 2}}},
                "plugins": {"greeter": {"source": "my/greeter.py:Greeter", "greeting": "Hi", "grants": ["call:a.*"]}},
            },
        )

        config = Config.load(path)

        assert (config.profile, config.kernel.workers, config.kernel.lanes.high.capacity) == ("prod", 3, 7)
        assert config.kernel.lanes.normal == LaneConfig(capacity=1000, weight=3)
        assert config.data_dir == tmp_path / ".aetherra"
        assert config.plugin_source("greeter") == str(tmp_path / "my/greeter.py:Greeter")
        assert config.plugin_source("stranger") is None
        assert config.plugin_settings("greeter", GreeterSettings) == GreeterSettings(greeting="Hi")
        assert config.plugin_settings("stranger", GreeterSettings) == GreeterSettings()
        assert config.plugins["greeter"].grants == ("call:a.*",)

    def test_another_root_moves_the_data_but_not_the_sources(self, tmp_path: Path) -> None:
        """A host over another project keeps that project's state there."""
        path = write(tmp_path, {"plugins": {"greeter": {"source": "greeter.py"}}})
        config = Config.load(path, root=tmp_path / "project")

        assert config.data_dir == tmp_path / "project" / ".aetherra"
        assert config.plugin_source("greeter") == str(tmp_path / "greeter.py")

    def test_a_profile_given_to_load_overrides_the_files(self, tmp_path: Path) -> None:
        """The environment decides last, and its own mistakes are told as its own."""
        path = write(tmp_path, {"profile": "prod"})

        assert Config.load(path, profile="test").profile == "test"
        assert Config.load(path).profile == "prod"
        with pytest.raises(ConfigError, match=r"AETHERRA_PROFILE.*'live'.*'dev', 'test', 'standard', 'prod'"):
            Config.load(path, profile="live")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """The error says which file, and that it is not there."""
        with pytest.raises(ConfigError, match=r"nowhere\.json: cannot be read: No such file"):
            Config.load(tmp_path / "nowhere.json")

    def test_a_folder_or_a_binary_file_cannot_be_read(self, tmp_path: Path) -> None:
        """What is no text file ends in the same error type."""
        (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path, tmp_path / "binary.json"):
            with pytest.raises(ConfigError, match="cannot be read"):
                Config.load(path)

    def test_a_file_that_is_not_json_names_line_and_column(self, tmp_path: Path) -> None:
        """An editor can jump to the fault."""
        path = write(tmp_path, '{\n  "kernel": {,}\n}')
        with pytest.raises(ConfigError, match=r"config\.json: is not JSON: line 2 column 14"):
            Config.load(path)

    @pytest.mark.parametrize(
        "text", ["", "[" * 100_000, '{"a": NaN}', '{"a": -Infinity}', '{"a": ' + "1" * 5000 + "}", '{"a": 1, "a": 2}']
    )
    def test_text_that_json_readers_disagree_on_is_refused(self, tmp_path: Path, text: str) -> None:
        """No text crashes the reader, and none is read in a way that its author cannot have meant."""
        with pytest.raises(ConfigError, match=r"config\.json: is not JSON"):
            Config.load(write(tmp_path, text))

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), containers))
    def test_any_document_is_read_or_refused_with_a_config_error(self, document: Any) -> None:
        """The reader has two outcomes."""
        with suppress(ConfigError):
            Config.parse({"plugins": document})
        with suppress(ConfigError):
            Config.parse({"kernel": document})


class TestFault:
    @pytest.mark.parametrize(
        ("document", "told"),
        [
            ([], "`$`: expected `object`, got `array`"),
            ({"kernle": {}}, "`$`: unknown key 'kernle'; did you mean 'kernel'?"),
            ({"kernel": {"workres": 2}}, "`$.kernel`: unknown key 'workres'; did you mean 'workers'?"),
            ({"kernel": {"xyz": 2}}, "`$.kernel`: unknown key 'xyz'; expected one of data_dir, control_socket"),
            ({"kernel": {"workers": "2"}}, "`$.kernel.workers`: expected `int`, got `str`"),
            ({"kernel": {"workers": True}}, "`$.kernel.workers`: expected `int`, got `bool`"),
            ({"kernel": {"workers": 0}}, "`$.kernel.workers`: expected `int` >= 1"),
            ({"kernel": {"workers": 10**6}}, "`$.kernel.workers`: expected `int` <= 1000"),
            ({"kernel": {"default_timeout": 0}}, "`$.kernel.default_timeout`: expected `float` > 0"),
            ({"kernel": {"stop_timeout": 1e300}}, "`$.kernel.stop_timeout`: expected `float` <= 31536000"),
            ({"kernel": {"data_dir": ""}}, "`$.kernel.data_dir`: expected `str` of length >= 1"),
            ({"kernel": {"durability": "disk"}}, "`$.kernel.durability`: invalid enum value 'disk'; expected one of"),
            ({"kernel": {"lanes": {"high": {"capacity": "x"}}}}, "`$.kernel.lanes.high.capacity`: expected `int`, got"),
            ({"kernel": {"lanes": {"low": {}}}}, "`$.kernel.lanes`: unknown key 'low'"),
            (
                {"plugins": {"greeter": {"rooms": {"hall": {"name": ""}, "attic": {"nam": ""}}}}},
                "`$.plugins.greeter.rooms.attic`: unknown key 'nam'; did you mean 'name'?",
            ),
            (
                {"plugins": {"greeter": {"rooms": {"hall": {"name": "", "xyz": 1}}}}},
                "`$.plugins.greeter.rooms.hall`: unknown key 'xyz'; expected one of name, mode",
            ),
            (
                {"plugins": {"greeter": {"floors": [{}, {"hall": [{"name": ""}, {"name": 1}]}]}}},
                "`$.plugins.greeter.floors[1].hall[1].name`: expected `str`, got `int`",
            ),
            (
                {"plugins": {"greeter": {"rooms": {"zones": {"name": "", "mode": "dry"}}}}},
                "`$.plugins.greeter.rooms.zones.mode`: invalid enum value 'dry'; expected one of",
            ),
            ({"profile": "live"}, "`$.profile`: invalid enum value 'live'; expected one of 'dev', 'test'"),
            ({"plugins": []}, "`$.plugins`: expected `object`, got `array`"),
            ({"plugins": {"greeter": 5}}, "`$.plugins.greeter`: expected `object`, got `int`"),
            ({"plugins": {"greeter": {"enabled": 1}}}, "`$.plugins.greeter.enabled`: expected `bool`, got `int`"),
            ({"plugins": {"greeter": {"grants": "x"}}}, "`$.plugins.greeter.grants`: expected `array`, got `str`"),
            ({"plugins": {"greeter": {"grants": [1]}}}, "`$.plugins.greeter.grants[0]`: expected `str`, got `int`"),
            ({"plugins": {"greeter": {"greeting": 1}}}, "`$.plugins.greeter.greeting`: expected `str`, got `int`"),
            (
                {"plugins": {"greeter": {"greting": ""}}},
                "`$.plugins.greeter`: unknown key 'greting'; did you mean 'gre",
            ),
            (
                {"plugins": {"greeter": {"zones": [{"nam": ""}]}}},
                "`$.plugins.greeter.zones[0]`: unknown key 'nam'; did",
            ),
            ({"plugins": {"greeter": {"best": {"name": "", "mode": "dry"}}}}, "mode`: invalid enum value 'dry'; expec"),
        ],
    )
    def test_a_wrong_document_is_told_where_and_what_was_expected(self, document: Any, told: str) -> None:
        """Each error names the file, the path in it, and what would have been right."""
        text = fault(document)

        assert told in text
        assert text.startswith("config")

    def test_settings_errors_of_a_file_name_the_file(self, tmp_path: Path) -> None:
        """A plugin's settings are checked when it loads; the error still says which file to open."""
        config = Config.load(write(tmp_path, {"plugins": {"greeter": {"greeting": 1}}}))

        with pytest.raises(ConfigError, match=r"config\.json: `\$\.plugins\.greeter\.greeting`: expected `str`"):
            config.plugin_settings("greeter", GreeterSettings)

    def test_bounds_hold_for_a_configuration_built_in_code(self) -> None:
        """A host that builds its configuration cannot go around the bounds."""
        with pytest.raises(ConfigError, match=r"KernelConfig: `\$\.workers`: expected `int` >= 1"):
            KernelConfig(workers=0)
        with pytest.raises(ConfigError, match="default_timeout"):
            KernelConfig(default_timeout=float("inf"))
        with pytest.raises(ConfigError, match="capacity"):
            LaneConfig(capacity=0)

    def test_in_memory_writes_nothing_and_finds_nothing(self) -> None:
        """What ``Kernel()`` alone runs with has no data directory, no plugins and no journal."""
        config = Config.in_memory()

        assert config.data_dir is None
        assert (config.plugins, config.kernel.discover, config.kernel.durability) == ({}, False, "none")


def admits(rules: dict[str, Any], document: Any, whole: dict[str, Any]) -> bool:  # noqa: C901  # a case a keyword
    """Whether a document fits a JSON Schema, for the keywords that ours uses; an unknown one is a failure."""
    known = {"$schema", "$defs", "title", "description", "default", "additionalProperties"}
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "null": type(None), "boolean": bool}
    for word, rule in rules.items():
        match word:
            case "$ref":
                fits = admits(whole["$defs"][rule.removeprefix("#/$defs/")], document, whole)
            case "type" if rule in ("integer", "number"):
                fits = isinstance(document, int if rule == "integer" else (int, float)) and document is not True
                fits = fits and document is not False
            case "type":
                fits = isinstance(document, kinds[rule])
            case "enum":
                fits = document in rule
            case "anyOf":
                fits = any(admits(option, document, whole) for option in rule)
            case "minimum":
                fits = document >= rule
            case "maximum":
                fits = document <= rule
            case "exclusiveMinimum":
                fits = document > rule
            case "minLength":
                fits = document is None or len(document) >= rule
            case "items":
                fits = all(admits(rule, item, whole) for item in document)
            case "required":
                fits = all(name in document for name in rule)
            case "properties":
                others = rules.get("additionalProperties", True)
                fits = all(
                    admits(rule[name], value, whole)
                    if name in rule
                    else (others if isinstance(others, bool) else admits(others, value, whole))
                    for name, value in document.items()
                )
            case _:
                assert word in known, word
                fits = True
        if not fits:
            return False
    return True


def documents() -> st.SearchStrategy[Any]:
    """Configurations, about half of them wrong somewhere."""
    junk = st.sampled_from([None, True, -1, 0, 3, 0.5, "", "x", [], {}])
    lane = st.fixed_dictionaries({}, optional={"capacity": st.just(5) | junk, "weight": st.just(2) | junk})
    kernel = st.fixed_dictionaries(
        {},
        optional={
            "workers": st.just(4) | junk,
            "data_dir": st.none() | st.just("d") | junk,
            "durability": st.sampled_from(["none", "power", "disk"]),
            "default_timeout": st.just(1.5) | junk,
            "lanes": st.fixed_dictionaries({}, optional={"high": lane | junk, "typo": lane}),
            "typo": junk,
        },
    )
    zone = st.fixed_dictionaries({}, optional={"name": st.just("n") | junk, "mode": st.sampled_from(["heat", "dry"])})
    greeter = st.fixed_dictionaries(
        {},
        optional={
            "enabled": st.booleans() | junk,
            "source": st.just("s.py") | junk,
            "grants": st.lists(st.just("a") | junk, max_size=2),
            "greeting": st.just("Hi") | junk,
            "zones": st.lists(zone | junk, max_size=2),
            "best": zone | junk,
            "typo": junk,
        },
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "profile": st.sampled_from(["dev", "live"]) | junk,
            "kernel": kernel | junk,
            "plugins": st.fixed_dictionaries({}, optional={"greeter": greeter | junk, "other": greeter | junk}) | junk,
            "typo": junk,
        },
    )


class TestSchema:
    @given(documents())
    def test_the_schema_and_the_reader_accept_the_same_documents(self, document: Any) -> None:
        """An editor that checks against the schema says what the host will say."""
        rules = schema({"greeter": GreeterSettings})
        told = ""
        try:
            Config.parse(document).plugin_settings("greeter", GreeterSettings)
        except ConfigError as exc:
            told = str(exc)

        assert admits(rules, document, rules) == (not told), told

    def test_plugins_whose_settings_share_a_name_keep_their_own(self) -> None:
        """Two plugins may both call their settings class the same."""
        other = type("GreeterSettings", (Settings,), {"__annotations__": {"volume": int}, "volume": 1})

        rules = schema({"greeter": GreeterSettings, "other": other})
        sections = rules["properties"]["plugins"]["properties"]

        assert "greeting" in sections["greeter"]["properties"]
        assert set(sections["other"]["properties"]) == {"enabled", "source", "grants", "volume"}

    def test_the_schema_is_json_and_every_reference_in_it_leads_somewhere(self) -> None:
        """It can be written to a file and used from there."""
        rules = schema({"greeter": GreeterSettings})
        text = json.dumps(rules)

        assert rules["$schema"].startswith("https://json-schema.org/")
        for reference in text.split('"#/$defs/')[1:]:
            assert reference.partition('"')[0] in rules["$defs"]
