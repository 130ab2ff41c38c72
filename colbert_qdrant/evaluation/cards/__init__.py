"""Puts the figures of a model beside those of its model card."""
