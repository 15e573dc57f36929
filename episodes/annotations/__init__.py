"""What people, trackers or captioners wrote down about a video: joints of a body, boxes to be tinted, sentences."""

JOINT_SUFFIXES = (".npz", ".npy", ".csv", ".json")
"""Of files of joints; said here, where listing them imports no torch."""
