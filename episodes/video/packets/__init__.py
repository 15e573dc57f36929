"""What the packets of a stream tell before any is decoded: which picture each is, and which are needed for a frame."""
