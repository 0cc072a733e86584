"""Floor 5: what a study's results say, as sentences, tables, a page and files. No torch."""
