"""What keeps the story from being told."""


class StoryFailed(Exception):
    """A step of the main job was refused; the message says which and why."""
