"""Language models that are asked about captions, once, before training."""
