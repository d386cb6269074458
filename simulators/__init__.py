"""The probes' side of every protocol, the water they sit in, what may happen to it, and what may go wrong.

| module | what |
|---|---|
| `chance` | random numbers by key: the same for everyone, in any order |
| `water` | a river or treated water, from the season to the minute |
| `contamination` | substances by their chemistry, as they pass the intake |
| `sensor` | from the water to what a probe shows: lag, noise, resolution, sensor faults |
| `tables`, `scenario_checks`, `scenario` | scenario files: what they hold, what they may not say |
| `truth` | what each probe shows at each instant: a pure function of the scenario |
| `modbus_codec`, `registers` | Modbus frames; what a profile's registers hold |
| `faults` | faults of a line, on bytes |
| `lines`, `modbus_server`, `ascii_server` | ptys and sockets, and who answers on them |
| `record` | the truth, written down as time passes |
| `simulation` | a scenario, served |
"""
