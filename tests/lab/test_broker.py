"""The embedded broker, of either kind, carries what a station and a central say."""

import asyncio

import pytest

from ewarn.lab import broker as broker_module
from ewarn.lab.broker import EmbeddedBroker
from ewarn.mqtt import Link


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
async def test_messages_and_retained_documents_arrive(kind, tmp_path, monkeypatch):
    if kind == "iotcore":
        pytest.importorskip("iotcore")
        monkeypatch.setattr(broker_module, "_mosquitto", lambda: None)
    elif broker_module._mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    heard = asyncio.Queue()
    async with EmbeddedBroker(tmp_path) as embedded:
        assert embedded.kind == kind
        edge = Link(embedded.settings, "edge", will=("t/status", b"lost"))
        central = Link(
            embedded.settings, "central", subscriptions=["$share/g/t/obs", "t/status"], on_message=heard.put_nowait
        )
        running = [asyncio.create_task(link.run()) for link in (edge, central)]
        try:
            async with asyncio.timeout(20):
                await edge.wait_connected()
                await edge.publish("t/status", b"online", retain=True)
                await central.wait_connected()
                await edge.publish("t/obs", b"x" * 100_000)
                found = {m.topic: m.payload for m in [await heard.get(), await heard.get()]}
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    assert found == {"t/status": b"online", "t/obs": b"x" * 100_000}
