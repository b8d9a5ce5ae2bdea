"""From checked ratings to ids, bags, numbers and cross-products that a model can read."""
