"""How each of the six models is built, trained and saved. One file a model."""
