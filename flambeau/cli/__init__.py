"""The commands: ``python -m flambeau`` and the console command ``flambeau``."""
