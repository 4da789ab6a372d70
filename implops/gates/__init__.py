"""Gates: rules over records that open a phase. Each names what it misses and the way out; none connects or writes."""
