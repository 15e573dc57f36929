"""What people, trackers or captioners wrote down about a video: joints of a body, boxes to be tinted, sentences."""
