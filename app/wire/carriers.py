"""The carriers that this service speaks with. A new one is a file in this package, and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from app.wire import audiohook, audiosocket, chan_websocket, freeswitch, telnyx, twilio, vonage
from app.wire.carrier import Carrier

CARRIERS: Mapping[str, Carrier] = {
    module.CARRIER.name: module.CARRIER
    for module in (twilio, telnyx, vonage, audiohook, audiosocket, chan_websocket, freeswitch)
}
"""By name, as in paths and settings."""
