"""Tables, figures, claims and where their numbers come from in one HTML file that opens offline."""
