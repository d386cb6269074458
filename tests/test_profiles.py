"""Device profiles: what no driver could read by is refused before one is made."""

import pytest

from ewarn.errors import ConfigError
from ewarn.profiles import builtin_profiles, load_profile

HEAD = 'schema = 1\nid = "p"\nname = "p"\nsource = "test"\ngrade = "I"\n'
PLAIN = f"""{HEAD}protocol = "modbus"
address_base = 1
[limits]
max_registers = 100
max_gap = 0
[[status]]
id = "s"
address = 9
type = "uint16"
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
address = 1
scale = 1.0
offset = 0.0
valid = [0, 14]
status = "s"
"""
SLOTS = f"""{HEAD}protocol = "modbus"
[limits]
max_registers = 125
[bind]
mode = "slots"
codes = 0
status = 100
values = 200
slots = 62
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
code = 18
"""
BLOCK = f"""{HEAD}protocol = "modbus"
[bind]
mode = "block"
size = 7
value = 0
quality = 2
units = 3
parameter = 4
sentinel = 5
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
address = 0
code = 18
"""
ASCII = f"""{HEAD}protocol = "ascii"
[ascii]
mode = "poll"
request = "D"
terminator = "x"
interval_s = 1.0
columns = 2
[[channels]]
id = "ph"
parameter = "ph"
unit = "[pH]"
field = 0
"""
SECOND = '[[channels]]\nid = "ph"\nparameter = "ph"\nunit = "[pH]"\naddress = 3\n'
WRONG = [
    (PLAIN, 'id = "ph"\nparameter', 'id = "ph"\nstatuss = "s"\nparameter', "channels[0].statuss"),
    (PLAIN + SECOND, "", "", "channels[1].id"),
    (PLAIN + '[[status]]\nid = "s"\naddress = 3\n', "", "", "status[1].id"),
    (PLAIN, 'parameter = "ph"', 'parameter = "acidity"', "channels[0].parameter"),
    (PLAIN, '"[pH]"', '"mV"', "channels[0].unit"),
    (PLAIN, "scale = 1.0", "scale = 0.0", "channels[0].scale"),
    (PLAIN, "scale = 1.0", "scale = nan", "channels[0].scale"),
    (PLAIN, "offset = 0.0", "offset = inf", "channels[0].offset"),
    (PLAIN, "[0, 14]", "[14, 14]", "channels[0].valid"),
    (PLAIN, "[0, 14]", "[nan, 14]", "channels[0].valid"),
    (PLAIN, 'status = "s"', 'status = "zz"', "channels[0].status"),
    (PLAIN, "address = 1\n", "", "channels[0].address"),
    (PLAIN, "address = 1\n", "address = 0\n", "channels[0].address"),
    (PLAIN, "address = 1\n", "address = 65536\n", "channels[0].address"),
    (PLAIN, 'address = 9\ntype = "uint16"', 'address = 65534\ntype = "uint64"', "status[0].address"),
    (PLAIN, 'type = "uint16"', 'type = "float32"', "status[0].type"),
    (PLAIN, "max_registers = 100", "max_registers = 0", "limits.max_registers"),
    (PLAIN, "max_registers = 100", "max_registers = 126", "limits.max_registers"),
    (PLAIN, "max_registers = 100", "max_registers = 1", "channels[0].address"),
    (PLAIN, "max_gap = 0", "max_gap = -1", "limits.max_gap"),
    (PLAIN, "max_gap = 0", "max_gap = 0\npause_ms = -1", "limits.pause_ms"),
    (SLOTS, "slots = 62", "slots = 63", "bind.slots"),
    (SLOTS, "slots = 62", "slots = 0", "bind.slots"),
    (SLOTS, "slots = 62", "slots = 1", "bind.slots"),
    (SLOTS, "max_registers = 125", "max_registers = 123", "bind.values"),
    (SLOTS, "values = 200", "values = 65413", "bind.values"),
    (SLOTS, "status = 100", "status = 61", "bind.codes"),
    (SLOTS, "code = 18", "code = 0", "channels[0].code"),
    (SLOTS, "code = 18", "", "channels[0].code"),
    (SLOTS, "code = 18", 'code = 18\ntype = "uint16"', "channels[0].type"),
    (SLOTS + 'status = "s"\n[[status]]\nid = "s"\naddress = 3\n', "", "", "channels[0].status"),
    (BLOCK, "size = 7", "size = 6", "bind.sentinel"),
    (BLOCK, "size = 7", "size = 126", "bind.size"),
    (BLOCK, "quality = 2", "quality = 1", "bind.quality"),
    (BLOCK, "quality = 2", "quality = -1", "bind.quality"),
    (BLOCK, "parameter = 4", "parameter = 3", "bind.parameter"),
    (BLOCK, "address = 0", "address = 65530", "channels[0].address"),
    (BLOCK, "code = 18", "", "channels[0].code"),
    (ASCII, "[ascii]", "[link]\n[ascii]\nchecksum = 3", "ascii.checksum"),
    (ASCII, 'terminator = "x"', 'terminator = ""', "ascii.terminator"),
    (ASCII, 'request = "D"', "", "ascii.request"),
    (ASCII, "interval_s = 1.0", "interval_s = 0.0", "ascii.interval_s"),
    (ASCII, "columns = 2", 'pattern = "("', "ascii.pattern"),
    (ASCII, "field = 0", "", "channels[0].field"),
    (ASCII, "field = 0", "field = 2", "channels[0].field"),
]


def written(tmp_path, text):
    path = tmp_path / "p.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("text", "old", "new", "key"), WRONG)
def test_wrong_profile_is_refused_by_file_and_key(text, old, new, key, tmp_path):
    assert old in text
    path = written(tmp_path, text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_profile(str(path))
    assert (caught.value.file, caught.value.key) == (str(path), key)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [
    PLAIN, SLOTS, BLOCK, ASCII,
    PLAIN.replace("address = 1\n", "address = 65535\n"),
    SLOTS.replace("max_registers = 125", "max_registers = 124").replace("values = 200", "values = 65412"),
    BLOCK.replace("address = 0", "address = 65529"),
])  # fmt: skip
def test_right_ones_are_taken_up_to_the_edge(text, tmp_path):
    assert load_profile("p.toml", relative_to=written(tmp_path, text).parent).id == "p"


def test_built_in_ones_are_right():
    assert {load_profile(name).id for name in builtin_profiles()} == set(builtin_profiles())


@pytest.mark.parametrize("name", ["none.toml", "folder.toml", f"{'x' * 300}.toml"])
def test_a_missing_file_is_named_with_its_path(name, tmp_path):
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError) as caught:
        load_profile(name, relative_to=tmp_path)
    assert (caught.value.file, caught.value.key) == ("", "profile")
    assert str(tmp_path / name) in caught.value.problem
