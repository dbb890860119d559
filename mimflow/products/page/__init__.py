"""Run pages: what there is to know of one run, whether a table names it or not."""
