"""The opening of the store and of the guard's switch that settings name, for every process that decides."""

from __future__ import annotations

from service.runtime.files import sync_names
from service.runtime.json_types import prepare_types
from service.settings import Settings
from service.stores import SharesSwitch, Store, open_store
from service.switch.engine import EngineControl
from service.switch.shared_memory import Control


def open_store_and_control(settings: Settings) -> tuple[Store, Control | EngineControl]:
    """Raises ``RefusedToStart`` where the store cannot be opened, or the directory is in use for another one."""
    control = Control(settings.data, settings.store_identity)
    control.refuse_another_store()
    store = open_store(settings)
    prepare_types()
    # The directory of the store's events must survive a power cut, or everything in it is lost.
    sync_names(settings.data)
    if isinstance(store, SharesSwitch):
        control.close()
        return store, EngineControl(store, settings.data, settings.store_identity)
    return store, control
