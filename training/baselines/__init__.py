"""Systems that anybody could build in an afternoon, measured beside the bundle on the same renderings."""
