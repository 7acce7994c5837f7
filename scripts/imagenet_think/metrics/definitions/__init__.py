"""One module per metric, which holds its `METRIC`; see `imagenet_think.metrics.registry`."""
