"""MoLo's motion branch and decoder."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, conv3d

from fsar.temporal.motion import MotionBranch, MotionDecoder, enlargements, frame_differences


def test_motion_written_out() -> None:
    branch = MotionBranch(16).double()
    maps = torch.randn(2, 3, 4, 16, 3, 5, dtype=torch.float64)  # maps need not be square
    found = branch(maps)
    assert found.shape == (2, 3, 3, 2, 3, 5)
    clip = maps[1, 2]
    reduced = conv3d(clip.transpose(0, 1)[None], branch.reduce.weight, branch.reduce.bias, padding=1)[0].transpose(0, 1)
    for i in range(3):
        shifted = conv2d(reduced[i + 1][None], branch.shift.weight, branch.shift.bias, padding=1)[0]
        torch.testing.assert_close(found[1, 2, i], shifted - reduced[i])
    wide = conv2d(found[1, 2], branch.widen.weight, branch.widen.bias).relu().mean((-2, -1))
    torch.testing.assert_close(branch.tokens(found)[1, 2], wide)


def test_a_clip_that_stands_still_has_the_same_motion_between_all_inner_frames() -> None:
    motion = MotionBranch(8)(torch.randn(1, 8, 2, 2).expand(7, -1, -1, -1))
    torch.testing.assert_close(motion[1:5], motion[1:2].expand(4, -1, -1, -1))  # the ends see padding


def test_what_has_no_motion_is_refused() -> None:
    with pytest.raises(ValueError, match=r"motion is between two frames, but the clips have 1: give data.frames 2"):
        MotionBranch(8)(torch.randn(3, 1, 8, 2, 2))
    with pytest.raises(ValueError, match="channels must be a multiple of 8, found 12"):
        MotionBranch(12)


def test_the_decoder_makes_32_pixels_of_one_place() -> None:
    assert MotionDecoder(2)(torch.randn(2, 1, 4, 2, 3, 2)).shape == (2, 1, 4, 3, 96, 64)


def test_the_decoder_of_a_vit_makes_frames_of_its_patches() -> None:
    for frame, grid in ((224, 7), (224, 14), (64, 8)):
        decoder = MotionDecoder(2, enlargements(frame, grid), widths=(4, 4, 4))
        assert decoder(torch.randn(1, 2, grid, grid)).shape == (1, 3, frame, frame)
    assert enlargements(227, 13) == (2, 4, 4)  # what does not fit is resized


def test_differences_of_frames_are_brought_to_the_size_of_the_decoder() -> None:
    frames = torch.randn(2, 3, 3, 8, 8)
    torch.testing.assert_close(frame_differences(frames), frames[:, 1:] - frames[:, :-1])
    torch.testing.assert_close(frame_differences(frames, (8, 8)), frames[:, 1:] - frames[:, :-1])
    ramp = torch.linspace(0, 1, 8).expand(2, 3, 8, 8) * torch.tensor([0.0, 1.0])[:, None, None, None]
    larger = frame_differences(ramp, (16, 16))
    assert larger.shape == (1, 3, 16, 16)
    torch.testing.assert_close(larger.mean(), ramp[1].mean())
