"""What a call reads, writes or compares, as tables that an engine executes."""
