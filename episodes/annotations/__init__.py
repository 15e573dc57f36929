"""What people or trackers wrote down about frames: joints of a body, boxes to be tinted."""
