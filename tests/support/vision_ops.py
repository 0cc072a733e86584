"""torchvision beside a CPU torch: see `initscope.modules.vision_operators`."""

from initscope.modules.vision_operators import OPERATORS, declare_vision_operators

__all__ = ["OPERATORS", "declare_vision_operators"]
