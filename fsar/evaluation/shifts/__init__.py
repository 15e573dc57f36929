"""What breaks a model: the accuracy of the same episodes while their clips are changed, more and more.

``table`` holds the shifts of pixels, ``attack`` the one that looks at the encoder, ``suite`` measures, ``effective``
asks whether a fall is larger than that of others, ``kept`` reads and writes what was measured.
"""
