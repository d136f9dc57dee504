"""What a site may set: the environment, read once and checked (prefix `KOWAIRO_`, groups joined by `__`).

This room knows nothing of the rest of the service: whoever builds a part turns its group into that part's own
configuration.
"""

from app.settings.access import AuthSettings, LimitsSettings
from app.settings.audio import AudioSettings
from app.settings.base import LineName, SettingsError
from app.settings.carriers import AudioSocketSettings, CarrierSettings
from app.settings.model import BundleSettings
from app.settings.policy import PolicySettings
from app.settings.privacy import PrivacySettings
from app.settings.service import Settings, load_settings
from app.settings.store import StoreSettings

__all__ = [
    "AudioSettings",
    "AudioSocketSettings",
    "AuthSettings",
    "BundleSettings",
    "CarrierSettings",
    "LimitsSettings",
    "LineName",
    "PolicySettings",
    "PrivacySettings",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "load_settings",
]
