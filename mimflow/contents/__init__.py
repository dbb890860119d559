"""Contents: what an output holds, and what follows from that for files, metrics and the words of tables."""
