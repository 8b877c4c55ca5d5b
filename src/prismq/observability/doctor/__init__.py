"""`prismq doctor`: what goes wrong in practice, what it means, what to do, and mending what is safe."""
