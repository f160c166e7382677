"""When schedules fire: pure computation on whole seconds of UTC since the epoch.

No module here reads a clock or a store. Time zones come from the pinned distribution ``tzdata``
alone, so that all processes of one release agree.
"""
