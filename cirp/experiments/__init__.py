"""Tables, tied to what made them."""
