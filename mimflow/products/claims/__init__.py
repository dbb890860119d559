"""Claims of papers beside what was measured, with a verdict each."""
