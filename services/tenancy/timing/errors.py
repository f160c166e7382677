"""What is wrong with the timing of a schedule."""


class TimingInvalid(ValueError):
    """A field of a schedule that no times can be computed from; the message is for its author."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        """As the contract names it."""
        self.problem = problem
