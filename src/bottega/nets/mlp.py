"""Multi-layer perceptrons."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """Linear layers with a SiLU between: ``(..., inputs) -> (..., outputs)``.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        hidden: widths between.
        zero: start the last layer at zero, so that the network begins as the constant zero.
    """

    def __init__(self, inputs: int, outputs: int, hidden: tuple[int, ...] = (128, 128), zero: bool = False) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        self.layers = nn.Sequential(
            *(layer for a, b in zip(widths, widths[1:], strict=False) for layer in (nn.Linear(a, b), nn.SiLU()))
        )
        self.last = nn.Linear(widths[-1], outputs)
        self.last.readout = True  # type: ignore[assignment]
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs) -> (..., outputs)``."""
        return self.last(self.layers(x))
