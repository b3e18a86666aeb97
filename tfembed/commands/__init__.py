"""The commands, a file for each group of them: parsing and printing, with TensorFlow imported inside of a command.

What takes more than a call of the library stands beside: `typed` (what was typed, as values), `inspection`, `runs`.
"""
