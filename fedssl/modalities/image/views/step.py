"""What every step of an image's view policy is."""

from torch import Tensor

from fedssl.views.step import Step


class ImageStep(Step):
    """A step that is done to images."""

    def draw(self, uniform: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the parameters [B, …] of B images of ``size`` (H, W), on the CPU.

        Parameters
        ----------
        uniform : Tensor
            float32 [B, ``draws``].
        size : tuple[int, int]
            The images' height and width.
        """
        return uniform
