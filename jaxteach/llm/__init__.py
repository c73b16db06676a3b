"""Asking a language model, before training or during it."""
