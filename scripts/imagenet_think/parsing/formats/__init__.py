"""Output formats of the models, one module per value of a model's `output` in the config.

A module declares what `imagenet_think.parsing.Format` lists. Nothing else has to be edited to add
a format.
"""
