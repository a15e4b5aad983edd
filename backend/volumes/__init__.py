"""One body's volume laid onto another's, so that points keep their meaning. The door: `map.map_volumes`."""
