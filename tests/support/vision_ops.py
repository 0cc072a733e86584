"""The two operators that torchvision asks for; they are declared where the calibration declares them."""

from calibration.vision_ops import OPERATORS, declare_vision_operators

__all__ = ["OPERATORS", "declare_vision_operators"]
