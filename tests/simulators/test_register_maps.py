"""Register maps, against the addresses and bytes that drivers of the real devices know."""

import math
import struct

import pytest

from ewarn.profiles import Bind, Channel, Profile, Status, load_profile
from simulators.registers import bank, listed, place

EXO = load_profile("ysi_exo_modbus")
TROLL = load_profile("insitu_aquatroll_500_600")


def registers_of(registers, address, count, table="holding"):
    return [registers[table, address + i] for i in range(count)]


def test_exo_answers_the_known_frame():
    values = {"water_temp": 12.34, "spcond_ms": 432.1, "ph": 7.81}
    registers = bank(EXO, list(values), values.get)
    assert registers_of(registers, 384, 6) == [0x70A4, 0x4145, 0x3C36, 0x3EDD, 0xEB85, 0x40F9]
    assert registers_of(registers, 128, 32) == [1, 6, 18] + [0] * 29
    assert registers_of(registers, 256, 32) == [0, 0, 0] + [1] * 29
    assert registers_of(registers, 390, 58) == [0] * 58


EXO_CODES = {
    "water_temp": 1, "conductivity_ms": 4, "conductivity": 5, "spcond_ms": 6, "spcond": 7, "tds_g": 10, "salinity": 12,
    "ph": 18, "orp": 19, "depth": 22, "battery_v": 28, "tds": 110, "chloride": 112, "chl_a": 193, "do_sat": 211,
    "do": 212, "turbidity": 223, "phycocyanin": 225, "fdom": 228, "external_v": 230,
}  # fmt: skip


def test_exo_codes_are_those_of_the_manual():
    fitted = [c.id for c in EXO.channels]
    assert listed(EXO, fitted) == [EXO_CODES[name] for name in fitted] + [0] * (32 - len(fitted))


def test_exo_has_nothing_beside_its_three_tables():
    registers = bank(EXO, ["ph"], lambda _: 7.0)
    assert {a for _, a in registers} == {*range(128, 160), *range(256, 288), *range(384, 448)}
    assert {table for table, _ in registers} == {"holding"}


def test_exo_slots_follow_a_code_list_that_was_rewritten():
    codes = [18, 999, 1, 0, 7] + [0] * 27
    registers = bank(EXO, ["water_temp", "ph", "spcond"], {"water_temp": 1.0, "ph": 2.0}.get, codes)
    assert registers_of(registers, 256, 5) == [0, 2, 0, 1, 1]
    assert registers_of(registers, 384, 6) == [0, 0x4000, 0, 0, 0, 0x3F80]
    assert registers_of(registers, 128, 5) == codes[:5]


TROLL_ADDRESSES = {  # documented numbers; on the wire one less
    "water_temp": (5451, 1), "depth": (5465, 3), "conductivity": (5507, 9), "spcond": (5514, 10),
    "salinity": (5528, 12), "tds": (5535, 13), "ph": (5563, 17), "orp": (5577, 19), "do": (5584, 20),
    "do_sat": (5591, 21), "turbidity": (5619, 25), "nitrate_n": (5703, 37), "ammonium_n": (5717, 39),
    "chl_a": (5794, 50), "phycocyanin": (5822, 54),
}  # fmt: skip


@pytest.mark.parametrize("name", TROLL_ADDRESSES)
def test_aqua_troll_blocks_are_where_the_manual_has_them(name):
    documented, parameter = TROLL_ADDRESSES[name]
    registers = bank(TROLL, [name], lambda _: 3.5)
    assert {a for _, a in registers} == set(range(documented - 1, documented + 6))
    block = registers_of(registers, documented - 1, 7)
    assert block == [0x4060, 0, 0, TROLL.channel(name).units_code[0], parameter, 0, 0]


def test_aqua_troll_answers_the_known_frame():
    registers = bank(TROLL, ["water_temp"], lambda _: 18.52)
    assert struct.pack(">7H", *registers_of(registers, 0x154A, 7)).hex(" ") == (
        "41 94 28 f6 00 00 00 01 00 01 00 00 00 00"
    )


def test_aqua_troll_shows_the_sentinel_with_an_error_where_a_value_is_missing():
    assert registers_of(bank(TROLL, ["ph"], lambda _: None), 5562, 7) == [0, 0, 3, 145, 17, 0, 0]


def plain(**channel):
    keys = {"id": "ph", "parameter": "ph", "unit": "[pH]", "address": 10} | channel
    order = keys.pop("order", "ABCD")
    base = keys.pop("base", 0)
    return Profile(
        schema=1, id="plain", name="plain", source="test", grade="I", protocol="modbus", word_order=order,
        address_base=base, channels=(Channel(**keys),),
        status=(Status("ok", 20), Status("state", 21, register="input", good=(7, 8))),
    )  # fmt: skip


ORDERS = {"ABCD": [0x42F6, 0xE979], "CDAB": [0xE979, 0x42F6], "BADC": [0xF642, 0x79E9], "DCBA": [0x79E9, 0xF642]}


@pytest.mark.parametrize("order", ORDERS)
def test_a_plain_map_in_every_byte_order(order):
    by_profile = bank(plain(order=order), ["ph"], lambda _: 123.456)
    by_channel = bank(plain(word_order=order), ["ph"], lambda _: 123.456)
    assert registers_of(by_profile, 10, 2) == registers_of(by_channel, 10, 2) == ORDERS[order]


def test_numbering_from_one_and_input_registers():
    registers = bank(plain(base=1, register="input"), ["ph"], lambda _: 123.456)
    assert registers_of(registers, 9, 2, "input") == ORDERS["ABCD"]


def test_scaled_integers():
    registers = bank(plain(type="int16", scale=0.01, offset=-5.0), ["ph"], lambda _: 7.21)
    assert registers_of(registers, 10, 1) == [1221]


MISSING = [
    ({"missing": (-9999.0,)}, -9999.0),
    ({"missing": (0.0,)}, 0.0),
    ({"missing": (math.nan,)}, math.nan),
    ({}, math.nan),
]


@pytest.mark.parametrize(("channel", "shown"), MISSING)
def test_a_missing_value_is_what_the_profile_calls_so(channel, shown):
    high, low = registers_of(bank(plain(**channel), ["ph"], lambda _: None), 10, 2)
    assert struct.unpack(">f", struct.pack(">HH", high, low))[0] == pytest.approx(shown, nan_ok=True)


def test_a_missing_integer_is_the_usual_pattern():
    assert registers_of(bank(plain(type="int16"), ["ph"], lambda _: None), 10, 1) == [0x8000]
    assert registers_of(bank(plain(type="uint16", missing=(32767.0,)), ["ph"], lambda _: None), 10, 1) == [0x7FFF]


def test_status_registers_say_good():
    registers = bank(plain(), ["ph"], lambda _: 7.0)
    assert registers["holding", 20] == 0
    assert registers["input", 21] == 7


def test_channels_of_one_block_take_one_place():
    assert place(TROLL, TROLL.channel("depth")) & place(TROLL, TROLL.channel("depth_ft"))
    assert not place(TROLL, TROLL.channel("depth")) & place(TROLL, TROLL.channel("ph"))
    assert isinstance(TROLL.bind, Bind)
