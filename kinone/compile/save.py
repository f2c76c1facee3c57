"""A compiled program as a Python file that needs NumPy alone."""
from typing import Any
def save(*args: Any) -> None:
    raise NotImplementedError
