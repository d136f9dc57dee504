"""From an evaluation to what people read: tables, plots, an index and the card."""
