"""Results beside each other and beside chance: how sure is a number, how sure is a difference?"""
