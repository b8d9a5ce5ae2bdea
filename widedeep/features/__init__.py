"""Features: from checked interactions to the codes, bags, numbers and crosses a model reads."""
