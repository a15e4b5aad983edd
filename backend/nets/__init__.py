"""Networks and what they share: the graph runner, BlazePose, EfficientNet, heat maps, losses."""
