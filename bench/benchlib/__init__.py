"""benchlib - what cost.py and soak.py are made of: statistics, charts, servers, the load program."""
